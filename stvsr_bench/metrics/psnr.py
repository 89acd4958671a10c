"""The PSNR metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from stvsr_bench.metrics.base import DeferredMetric, FrameBatch, Metric
from stvsr_bench.metrics.catalog import MetricInfo
from stvsr_bench.metrics.functional.psnr import Window, inner, mean_squared_error, psnr_from_mse, squared_error
from stvsr_bench.metrics.planes import Space, crop_8x8, plane

Border = int | Literal["crop_8x8"]
"""Pixels cut off every side, or TecoGAN's centre crop."""


def window(batch: FrameBatch, border: Border) -> Window:
    """What counts of the frames of ``batch``."""
    if border == "crop_8x8":
        return crop_8x8(batch.height, batch.width)
    return inner(batch.height, batch.width, border)


def squared_errors(batch: FrameBatch, space: Space, border: Border) -> list[float]:
    """Mean squared error of every frame; the map of a colour space is computed once for all borders."""
    error = batch.feature(
        "both",
        f"squared_error.{space}",
        lambda: squared_error(plane(batch, "pred", space), plane(batch, "gt", space)),
    )
    return mean_squared_error(error, 3 if space == "rgb" else 1, window(batch, border))


class Psnr(Metric):
    """PSNR of every frame.

    Args:
        info: the catalogue's facts.
        space: what is compared, see :func:`stvsr_bench.metrics.planes.plane`.
        crop: what is cut off.
        floor: added to the mean squared error on the [0, 1] scale.
    """

    def __init__(self, info: MetricInfo, *, space: Space, crop: Border, floor: float = 0.0) -> None:
        super().__init__(info)
        self.space: Space = space
        self.crop: Border = crop
        self.floor = floor

    def score(self, batch: FrameBatch, previous: FrameBatch | None) -> Sequence[float]:
        return [psnr_from_mse(mse, self.floor) for mse in squared_errors(batch, self.space, self.crop)]

    def why_excluded(self, value: float) -> str:
        return "identical frames: PSNR is infinite" if value == math.inf else super().why_excluded(value)


class PooledPsnr(DeferredMetric):
    """PSNR of the mean squared error over all frames of a clip.

    Args:
        info: the catalogue's facts.
        space: what is compared, see :func:`stvsr_bench.metrics.planes.plane`.
        crop: what is cut off.
    """

    def __init__(self, info: MetricInfo, *, space: Space, crop: Border) -> None:
        super().__init__(info)
        self.space: Space = space
        self.crop: Border = crop

    def reset(self) -> None:
        super().reset()
        self._errors: list[float] = []

    def observe(self, batch: FrameBatch) -> None:
        self._errors += squared_errors(batch, self.space, self.crop)

    def finish(self) -> Sequence[float]:
        return [psnr_from_mse(math.fsum(self._errors) / len(self._errors))]

    def why_excluded(self, value: float) -> str:
        return "identical clips: PSNR is infinite" if value == math.inf else super().why_excluded(value)
