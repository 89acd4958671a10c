"""The DISTS metric."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from stvsr_bench.core.errors import MetricError
from stvsr_bench.metrics.base import FrameBatch, Metric
from stvsr_bench.metrics.catalog import MetricInfo
from stvsr_bench.metrics.functional.dists import (
    Moments,
    covariance,
    dissimilarity,
    moments,
    prepare,
    split_weights,
)
from stvsr_bench.metrics.functional.packing import pack, unpack
from stvsr_bench.nn.l2_pool import L2Pool
from stvsr_bench.nn.precision import use_exact_float32
from stvsr_bench.nn.vgg import CHANNELS, Vgg16Features
from stvsr_bench.nn.winograd import WinogradConv2d
from stvsr_bench.weights import service
from stvsr_bench.weights.strict import load_strict

FEATURE = "vgg16.dists@1"
"""Name and version of what is kept of a ground-truth frame."""
COMPUTED = 1
"""Taps of the trunk that are computed again for a ground-truth frame whose coarser ones are kept: the finest takes an
eighth of the arithmetic and two thirds of the space."""

Tap = tuple[torch.Tensor, Moments]


class Dists(Metric):
    """DISTS of every frame.

    Args:
        info: the catalogue's facts; its ``weights`` are the trunk and the weights of the channels.
    """

    def __init__(self, info: MetricInfo) -> None:
        super().__init__(info)
        self._trunk: Vgg16Features | None = None
        self._weights: list[tuple[torch.Tensor, torch.Tensor]] = []

    def setup(self, device: torch.device | str) -> None:
        """Load the trunk and the weights of its channels."""
        super().setup(device)
        use_exact_float32(self.device)
        trunk = Vgg16Features(L2Pool, WinogradConv2d)
        trunk_weight, channel_weight = self.info.weights
        load_strict(trunk, service.load_weight(trunk_weight))
        self._trunk = trunk.eval().requires_grad_(False).to(self.device)
        weights = service.load_weight(channel_weight)
        parts = split_weights(weights["alpha"], weights["beta"], (3, *CHANNELS))
        self._weights = [(alpha.to(self.device), beta.to(self.device)) for alpha, beta in parts]

    @torch.inference_mode()
    def score(self, batch: FrameBatch, previous: FrameBatch | None) -> Sequence[float]:
        # one frame at a time: its maps are eighty times larger than the frame
        losses = []
        for i, (pred, gt) in enumerate(zip(batch.rgb("pred"), batch.rgb("gt"), strict=True)):
            loss = torch.zeros((), dtype=torch.float64, device=batch.device)
            taps = zip(self._taps(pred), self._kept_taps(batch, i, gt), self._weights, strict=True)
            for (x, of_x), (y, of_y), (alpha, beta) in taps:
                loss += dissimilarity(of_x, of_y, covariance(x, y, of_x, of_y), alpha, beta)
            losses.append(loss)
        return [float(value) for value in torch.stack(losses).tolist()]

    def _maps(self, frame: torch.Tensor) -> Iterator[torch.Tensor]:
        """The frame itself and the five maps of the trunk, from fine to coarse."""
        if self._trunk is None:
            raise MetricError(f"metric '{self.info.id}' is not set up", action="call setup(device) before update")
        image = frame[None].contiguous()  # the order of the caller's memory must not choose the order of sums
        yield image
        yield from self._trunk(prepare(image))

    def _taps(self, frame: torch.Tensor) -> Iterator[Tap]:
        for features in self._maps(frame):
            yield features, moments(features)

    def _kept_taps(self, batch: FrameBatch, number: int, frame: torch.Tensor) -> Iterator[Tap]:
        """Those of the ground truth; on a CPU the coarser ones may come from disk, which is faster than the trunk."""
        if batch.store is None or batch.device.type != "cpu":
            yield from self._taps(frame)
            return
        made: list[Tap] = []

        def make(chosen: Sequence[int]) -> list[torch.Tensor]:
            made.extend(self._taps(frame))
            known = torch.cat([torch.stack([m.mean, m.variance]) for _, m in made], dim=1)
            return [known[None], *(part for features, _ in made[COMPUTED + 1 :] for part in pack(features))]

        known, *packed = batch.store.get(FEATURE, [batch.digests()[number]], make, batch.device)
        if made:
            yield from made
            return
        kept = [Moments(*m.unbind(0)) for m in torch.split(known[0], [3, *CHANNELS], dim=1)]
        shape = batch.height, batch.width
        for tap, features in zip(range(COMPUTED + 1), self._maps(frame), strict=False):
            yield features, kept[tap]
        for tap in range(COMPUTED + 1, len(kept)):
            bits, values = packed[2 * (tap - COMPUTED - 1) :][:2]
            height, width = (-(-side // 2 ** (tap - 1)) for side in shape)
            yield unpack(bits, values, (CHANNELS[tap - 1], height, width)), kept[tap]
