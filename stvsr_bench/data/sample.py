"""Samples: what a dataset holds on disk, and what a protocol makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from stvsr_bench.core.errors import BenchError
from stvsr_bench.video.clip import Clip


@dataclass(frozen=True)
class SourceSample:
    """One clip as it lies on disk, before any protocol.

    Clips are open but not decoded. What could not be opened stands in ``errors`` instead of raising, so that a bad
    file fails its own clip only, and only under a protocol that reads it.

    Attributes:
        name: the clip's name in the dataset.
        gt: ground truth, full rate and size.
        lq: low-quality clip from disk.
        plain: a clip of which nothing says whether it is GT or LQ; the protocol decides what it serves as.
        errors: by role (``"gt"``, ``"lq"``), why that clip is absent although the dataset should have it.
        notes: what a user should know about the pixels and their files.
    """

    name: str
    gt: Clip | None = None
    lq: Clip | None = None
    plain: Clip | None = None
    errors: dict[str, BenchError] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """One benchmark item under a protocol: what a method gets and what its output is compared with.

    Attributes:
        name: the clip's name in the dataset.
        lq: what the method restores.
        gt: ground truth of exactly the output frames (frame i of the output is frame i of ``gt``), or ``None``.
        scale: spatial factor φs: output rows = LQ rows · scale.
        time_scale: temporal factor φt.
        out_frames: frames that the method must return, ``(len(lq) - 1) · time_scale + 1``.
        frame_rate: frames per second of the output, exact; ``None`` where the source does not say.
        scored: output frames that are scored.
        key_frames: output frames that have an LQ frame at their time.
        notes: what the plan tells: frames not scored, files seen and not used, how pixels were read.
    """

    name: str
    lq: Clip
    gt: Clip | None
    scale: int
    time_scale: int
    out_frames: int
    frame_rate: Fraction | None
    scored: range
    key_frames: range
    notes: tuple[str, ...] = ()
