"""The SSIM metrics."""

from __future__ import annotations

from collections.abc import Sequence

from stvsr_bench.metrics.base import FrameBatch, Metric
from stvsr_bench.metrics.catalog import MetricInfo
from stvsr_bench.metrics.functional.ssim import ssim_from_maps, ssim_maps, uniform_ssim
from stvsr_bench.metrics.planes import Space, plane
from stvsr_bench.metrics.psnr import Border, window


class Ssim(Metric):
    """SSIM of every frame with the Gaussian window.

    Args:
        info: the catalogue's facts.
        space: what is compared, see :func:`stvsr_bench.metrics.planes.plane`.
        crop: pixels cut off every side.
        clip: raise negative contrast-structure terms to 0, as pyiqa does.
    """

    def __init__(self, info: MetricInfo, *, space: Space, crop: int, clip: bool = False) -> None:
        super().__init__(info)
        self.space: Space = space
        self.crop = crop
        self.clipped = clip

    def score(self, batch: FrameBatch, previous: FrameBatch | None) -> Sequence[float]:
        maps = batch.feature(
            "both",
            f"ssim_maps.{self.space}.{self.clipped}",
            lambda: ssim_maps(plane(batch, "pred", self.space), plane(batch, "gt", self.space), clip=self.clipped),
        )
        return ssim_from_maps(maps, self.crop)


class UniformSsim(Metric):
    """SSIM of every frame on BT.601 Y with scikit-image's default window, as TecoGAN and XVFI call it.

    Args:
        info: the catalogue's facts.
        crop: what is cut off before.
    """

    def __init__(self, info: MetricInfo, *, crop: Border) -> None:
        super().__init__(info)
        self.crop: Border = crop

    def score(self, batch: FrameBatch, previous: FrameBatch | None) -> Sequence[float]:
        rows, columns = window(batch, self.crop)
        frames = (plane(batch, side, "y")[:, 0, rows, columns] for side in ("pred", "gt"))
        return [uniform_ssim(pred, gt) for pred, gt in zip(*frames, strict=True)]

    def why_excluded(self, value: float) -> str:
        return "a constant prediction: its data range is 0" if value != value else super().why_excluded(value)
