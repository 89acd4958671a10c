"""The PSNR metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from stvsr_bench.metrics.base import FrameBatch, Metric
from stvsr_bench.metrics.catalog import MetricInfo
from stvsr_bench.metrics.functional.psnr import psnr_from_error, squared_error


class Psnr(Metric):
    """PSNR of every frame on RGB or Y.

    Args:
        info: the catalogue's facts.
        space: ``rgb`` (8-bit, one MSE over the three channels) or ``y`` (BT.601, float, not rounded).
        crop: pixels cut off every side.
    """

    def __init__(self, info: MetricInfo, *, space: Literal["rgb", "y"], crop: int) -> None:
        super().__init__(info)
        self.space: Literal["rgb", "y"] = space
        self.crop = crop

    def score(self, batch: FrameBatch, previous: FrameBatch | None) -> Sequence[float]:
        frames = batch.u8 if self.space == "rgb" else batch.y
        error = batch.feature(
            "both", f"squared_error.{self.space}", lambda: squared_error(frames("pred"), frames("gt"))
        )
        return psnr_from_error(error, 3 if self.space == "rgb" else 1, self.crop)

    def why_excluded(self, value: float) -> str:
        return "identical frames: PSNR is infinite" if value == math.inf else super().why_excluded(value)
