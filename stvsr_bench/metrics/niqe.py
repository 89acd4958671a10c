"""The NIQE metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from stvsr_bench.core.errors import MetricError
from stvsr_bench.metrics.base import FrameBatch, Metric
from stvsr_bench.metrics.catalog import MetricInfo
from stvsr_bench.metrics.functional.niqe import Form, Pristine, niqe
from stvsr_bench.metrics.planes import plane
from stvsr_bench.weights import service

Luma = Literal["yiq_rounded", "ycbcr_rounded", "gray_rounded"]

_GRAY = (0.299, 0.587, 0.114)


def luma(batch: FrameBatch, space: Luma) -> torch.Tensor:
    """The restored frames' luma rounded to 8 bits, float64 ``(T, H, W)``.

    ``gray_rounded`` has the weights of ``yiq_rounded``, but sums from blue to red, as OpenCV does for BGR in [0, 1]
    times 255: ties of the rounding fall differently, and NIQE moves by 1e-3.
    """
    if space != "gray_rounded":
        return plane(batch, "pred", space)[:, 0]

    def make() -> torch.Tensor:
        red, green, blue = batch.rgb("pred").unbind(1)
        weights = torch.tensor(_GRAY)
        total = blue * weights[2].item()
        for channel, weight in ((green, weights[1].item()), (red, weights[0].item())):
            # a product of two float32 is exact in float64, so that only the sum is rounded
            total = channel.double().mul_(weight).add_(total).float()
        return total.mul_(255).round_().double()

    return batch.feature("pred", "niqe.gray", make)


class Niqe(Metric):
    """NIQE of every frame.

    Args:
        info: the catalogue's facts; its one weight is the model of natural images.
        space: what is looked at, see :func:`luma`.
        crop: pixels cut off every side.
        form: whose rounding is kept, see :data:`stvsr_bench.metrics.functional.niqe.Form`.
    """

    def __init__(self, info: MetricInfo, *, space: Luma, crop: int, form: Form) -> None:
        super().__init__(info)
        self.space: Luma = space
        self.crop = crop
        self.form: Form = form
        self._pristine: Pristine | None = None

    def setup(self, device: torch.device | str) -> None:
        """Load the model of natural images."""
        super().setup(device)
        (weight,) = self.info.weights
        model = {name: tensor.to(self.device) for name, tensor in service.load_weight(weight).items()}
        self._pristine = Pristine(model["mu_pris_param"][0], model["cov_pris_param"], model["gaussian_window"])

    @torch.inference_mode()
    def score(self, batch: FrameBatch, previous: FrameBatch | None) -> Sequence[float]:
        pristine = self._pristine
        if pristine is None:
            raise MetricError(f"metric '{self.info.id}' is not set up", action="call setup(device) before update")
        frames = luma(batch, self.space)
        inner = frames[:, self.crop : batch.height - self.crop, self.crop : batch.width - self.crop]
        values: list[float] = torch.stack([niqe(frame, pristine, self.form) for frame in inner]).tolist()
        return values

    def why_excluded(self, value: float) -> str:
        return "fewer than two blocks hold any structure" if value != value else super().why_excluded(value)
