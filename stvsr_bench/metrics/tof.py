"""The tOF metrics: difference of the motion seen in the restored and in the true frames."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from stvsr_bench.metrics.base import FrameBatch, Metric
from stvsr_bench.metrics.catalog import MetricInfo
from stvsr_bench.metrics.features import farneback, flow_between, gray_float, gray_u8
from stvsr_bench.metrics.functional.flow_error import endpoint_error
from stvsr_bench.metrics.planes import crop_8x8


class Tof(Metric):
    """Difference of Farneback flows of every pair of consecutive frames.

    Args:
        info: the catalogue's facts.
        rounded: flow from the 8-bit gray (TecoGAN), not from the float gray (XVFI, BF-STVSR).
        crop: cut both flows to TecoGAN's ``crop_8x8``; they are computed on whole frames.
        first_from_prediction: take the restored first frame as that of the ground truth too, as XVFI's script does.
    """

    def __init__(
        self, info: MetricInfo, *, rounded: bool, crop: bool = False, first_from_prediction: bool = False
    ) -> None:
        super().__init__(info)
        self.rounded = rounded
        self.crop = crop
        self.first_from_prediction = first_from_prediction

    def score(self, batch: FrameBatch, previous: FrameBatch | None) -> Sequence[float]:
        pred, gt = (farneback(batch, previous, side, rounded=self.rounded) for side in ("pred", "gt"))
        if self.first_from_prediction and not self._values and len(gt):
            gt = torch.cat([self._mixed(batch, previous)[None], gt[1:]])
        return endpoint_error(pred, gt, crop_8x8(batch.height, batch.width) if self.crop else None)

    def _mixed(self, batch: FrameBatch, previous: FrameBatch | None) -> torch.Tensor:
        """Flow from the restored first frame to the true second."""
        gray = gray_u8 if self.rounded else gray_float
        first = gray(batch if previous is None else previous, "pred")[-1 if previous else 0]
        second = gray(batch, "gt")[0 if previous else 1]
        return flow_between(first.numpy(), second.numpy())
