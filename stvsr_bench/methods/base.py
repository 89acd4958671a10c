"""CONTRACT SKETCH - to be written out in full by the methods part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch

from stvsr_bench.video.clip import Clip, Frames

Task = Literal["vsr", "vfi", "stvsr"]


@dataclass(frozen=True)
class SizeRule:
    """Spatial rule of a method: LQ sides it accepts; the base class pads (reflect, then replicate) and crops back."""

    multiple: int = 1
    minimum: int = 1


@dataclass(frozen=True)
class CountRule:
    """Frame-count rule: accepts counts ``multiple·k + offset`` of at least ``minimum``; padded by repeating the last."""

    multiple: int = 1
    offset: int = 0
    minimum: int = 1


@dataclass(frozen=True)
class Request:
    """What one ``restore`` call must produce."""

    scale: int
    time_scale: int
    seed: int = 0
    name: str = "clip"


@dataclass
class Stage:
    """One timed stage of a restoration."""

    name: str
    seconds: float = 0.0
    peak_bytes: int | None = None
    frames: int = 0


@dataclass
class Report:
    """What a restoration used: filled while ``restore`` runs, stored in the result."""

    plan: dict[str, Any] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
