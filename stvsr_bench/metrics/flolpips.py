"""The FloLPIPS metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch

from stvsr_bench.core.errors import MetricError
from stvsr_bench.metrics.base import FrameBatch, Metric
from stvsr_bench.metrics.catalog import MetricInfo
from stvsr_bench.metrics.functional.flolpips import flolpips
from stvsr_bench.metrics.lpips import LpipsNetwork
from stvsr_bench.metrics.pair_flow import PairFlow, PwcFlow, RaftFlow

Flow = Literal["pwcnet", "raft"]
_FLOWS: dict[Flow, type[PairFlow]] = {"pwcnet": PwcFlow, "raft": RaftFlow}


class FloLpips(Metric):
    """FloLPIPS of every pair of consecutive frames: LPIPS of the first, weighted by where the motion is wrong.

    Args:
        info: the catalogue's facts; its ``weights`` are AlexNet, the heads, and the flow network.
        flow: which network the motion is taken from.
    """

    def __init__(self, info: MetricInfo, *, flow: Flow) -> None:
        super().__init__(info)
        self.flow_kind: Flow = flow
        self.networks: tuple[LpipsNetwork, PairFlow] | None = None

    def setup(self, device: torch.device | str) -> None:
        """Load AlexNet, the heads and the flow network."""
        super().setup(device)
        *trunk, flow = self.info.weights
        self.networks = LpipsNetwork("alex", trunk, self.device), _FLOWS[self.flow_kind](flow, self.device)

    def _ready(self) -> tuple[LpipsNetwork, PairFlow]:
        if self.networks is None:
            raise MetricError(f"metric '{self.info.id}' is not set up", action="call setup(device) before update")
        return self.networks

    @torch.inference_mode()
    def score(self, batch: FrameBatch, previous: FrameBatch | None) -> Sequence[float]:
        network, _ = self._ready()
        differences = self.flow_differences(batch, previous)
        parts = [batch] if previous is None else [previous, batch]
        frames = [(part, i) for part in parts for i in range(len(part))][: len(differences)]
        values = []
        for (part, i), difference in zip(frames, differences, strict=True):
            pred, gt = ([layer[i : i + 1] for layer in network.shared_maps(part, side)] for side in ("pred", "gt"))
            values.append(flolpips(pred, gt, network.heads, difference))
        return values

    @torch.inference_mode()
    def flow_differences(self, batch: FrameBatch, previous: FrameBatch | None) -> list[torch.Tensor]:
        """Flow of the ground truth less that of the restored frames, for every pair, ``(1, 2, H, W)`` pixels."""
        _, flow = self._ready()
        pred, gt = (flow.pairs(batch, previous, side) for side in ("pred", "gt"))
        return [flow.full(g[None] - p[None], batch.height, batch.width) for p, g in zip(pred, gt, strict=True)]

    @torch.inference_mode()
    def triplet(self, before: torch.Tensor, after: torch.Tensor, pred: torch.Tensor, gt: torch.Tensor) -> float:
        """FloLPIPS of one interpolated frame between two that are the same for both: the reference's triplet form.

        Args:
            before: the true frame before, uint8 RGB ``(3, H, W)``.
            after: the true frame after.
            pred: the interpolated frame.
            gt: the true frame at its place.

        Returns:
            The mean of the two FloLPIPS values whose motion goes from the middle to ``before`` and to ``after``.

        Raises:
            MetricError: the frames differ in size or are no uint8 RGB.
        """
        network, flow = self._ready()
        shapes = {tuple(frame.shape) for frame in (before, after, pred, gt)}
        if len(shapes) > 1:
            raise MetricError(
                f"metric '{self.info.id}': the frames of a triplet differ in size",
                got=", ".join(map(str, sorted(shapes))),
                accepted="four frames (3, H, W) of one size",
            )
        batch = FrameBatch(torch.stack([pred, before, after]), torch.stack([gt, before, after]), range(3), self.device)
        (p, *ends), (g, *_) = ([frame[None] for frame in batch.rgb(side)] for side in ("pred", "gt"))
        pred_maps, gt_maps = (list(network.unit_maps(frame[0])) for frame in (p, g))
        middle = [flow.of_frame(frame) for frame in (p, g)]
        values = []
        for end in map(flow.of_frame, ends):
            pred_flow, gt_flow = (flow.compact(features, end) for features in middle)
            difference = flow.full(gt_flow - pred_flow, batch.height, batch.width)
            values.append(flolpips(pred_maps, gt_maps, network.heads, difference))
        return math.fsum(values) / len(values)
