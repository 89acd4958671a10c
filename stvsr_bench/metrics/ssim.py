"""The SSIM metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from stvsr_bench.metrics.base import FrameBatch, Metric
from stvsr_bench.metrics.catalog import MetricInfo
from stvsr_bench.metrics.functional.ssim import ssim_from_maps, ssim_maps


class Ssim(Metric):
    """SSIM of every frame on RGB or Y.

    Args:
        info: the catalogue's facts.
        space: ``rgb`` (8-bit, mean of the three channels) or ``y`` (BT.601, float, not rounded).
        crop: pixels cut off every side.
    """

    def __init__(self, info: MetricInfo, *, space: Literal["rgb", "y"], crop: int) -> None:
        super().__init__(info)
        self.space: Literal["rgb", "y"] = space
        self.crop = crop

    def score(self, batch: FrameBatch, previous: FrameBatch | None) -> Sequence[float]:
        frames = batch.u8 if self.space == "rgb" else batch.y
        maps = batch.feature("both", f"ssim_maps.{self.space}", lambda: ssim_maps(frames("pred"), frames("gt")))
        return ssim_from_maps(maps, self.crop)
