"""How the golden set of the metrics is compared: each part of the suite claims paths of ``expected.json``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

Leaf = tuple[tuple[str, ...], Any]
DESCRIPTIVE = re.compile(
    r"meta/.*|clips/.*|weights_sha256_fp16_sorted_keys/.*|.*/_note|.*/seconds|vqa/(input|n_frames|size|mean|std)"
    r"|videos/[^/]+/vbench_bc/features|pairs/.+/gt/flolpips/video_mode|vqa/fallback_upsample/(clip|offset_draws)"
)
"""Paths that describe the set and hold no number of a metric (weights are checked where they are read)."""


@dataclass(frozen=True)
class Golden:
    """One set in the format of ``goldens/metrics``.

    Attributes:
        folder: where its files lie.
    """

    folder: Path

    @cached_property
    def expected(self) -> dict[str, Any]:
        """The expected values."""
        values: dict[str, Any] = json.loads((self.folder / "expected.json").read_text())
        return values

    @cached_property
    def _clips(self) -> dict[str, torch.Tensor]:
        found = {}
        for file in sorted(self.folder.glob("clips*.safetensors")):
            found |= load_file(file)
        return found

    def clip(self, name: str) -> torch.Tensor:
        """A clip (``walk_a.gt``) as uint8 RGB ``(T, 3, H, W)``."""
        frames = self._clips[name]
        frames = frames if frames.ndim == 4 else frames[None]
        return frames.permute(0, 3, 1, 2).contiguous()

    @cached_property
    def flows(self) -> dict[str, torch.Tensor]:
        """The stored flows and masks; flows as float32."""
        values = load_file(self.folder / "flows.safetensors")
        return {name: value.float() if value.is_floating_point() else value for name, value in values.items()}

    @lru_cache(maxsize=4)  # noqa: B019 (one set for each test run)
    def weights(self, name: str) -> dict[str, torch.Tensor]:
        """Stored weights (``pwcnet`` joins ``weights_pwcnet_*``), as float32."""
        files = sorted(self.folder.glob(f"weights_{name}.safetensors")) or sorted(
            self.folder.glob(f"weights_{name}_*.safetensors")
        )
        assert files, f"no weights_{name}*.safetensors in {self.folder}"
        found: dict[str, torch.Tensor] = {}
        for file in files:
            found |= load_file(file)
        return {key: value.float() if value.is_floating_point() else value for key, value in found.items()}

    def __hash__(self) -> int:
        return hash(self.folder)


@dataclass(frozen=True)
class Claim:
    """Some paths of ``expected.json`` and how to compute what stands there.

    Attributes:
        pattern: regular expression that the path, joined by ``/``, matches in full; it names a node (a metric) or a
            leaf.
        compute: called with the set and the match; returns what stands at the node, in the same structure.
        tolerance: largest accepted difference, absolute, or a function of the expected value.
    """

    pattern: str
    compute: Callable[[Golden, re.Match[str]], Any]
    tolerance: float | Callable[[float], float]


def nodes(value: Any, path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Every node of a nested dictionary, the outer ones first."""
    yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from nodes(inner, (*path, key))


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Every single number, text or null of a nested structure, by its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for position, inner in enumerate(value):
            yield from leaves(inner, (*path, str(position)))
    else:
        yield path, value


def compare(claim: Claim, expected: Any, computed: Any, where: str) -> tuple[int, float]:
    """Compare every leaf below ``where``; return how many and the largest difference.

    Raises:
        AssertionError: a leaf is absent, superfluous or outside the tolerance.
    """
    wanted = {path: value for path, value in leaves(expected) if not DESCRIPTIVE.fullmatch("/".join((where, *path)))}
    found = dict(leaves(computed))
    assert found.keys() == wanted.keys(), f"{where}: {sorted(wanted.keys() ^ found.keys())[:6]}"
    largest = 0.0
    for path, value in wanted.items():
        mine, place = found[path], "/".join((where, *path))
        if isinstance(value, str) and value in ("inf", "-inf", "nan"):
            assert str(float(mine)) == value, f"{place}: {mine} instead of {value}"
        elif value is None or isinstance(value, str | bool):
            assert mine == value, f"{place}: {mine} instead of {value}"
        else:
            accepted = claim.tolerance(value) if callable(claim.tolerance) else claim.tolerance
            difference = abs(mine - value)
            assert difference <= accepted, f"{place}: {mine} instead of {value}, {difference:.3g} > {accepted:.3g}"
            largest = max(largest, difference)
    return len(wanted), largest
