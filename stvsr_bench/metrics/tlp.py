"""The tLP metrics: difference of the perceived change from frame to frame."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from stvsr_bench.core.errors import MetricError
from stvsr_bench.metrics.base import FrameBatch, Metric
from stvsr_bench.metrics.batch import Maps, OneSide
from stvsr_bench.metrics.catalog import MetricInfo
from stvsr_bench.metrics.functional.lpips import lpips
from stvsr_bench.metrics.lpips import LpipsNetwork


class Tlp(Metric):
    """100 |LPIPS(gt t, gt t+1) - LPIPS(pred t, pred t+1)| of every pair of consecutive frames.

    Args:
        info: the catalogue's facts; its ``weights`` are AlexNet and the heads.
        crop: cut the frames to TecoGAN's ``crop_8x8`` before the trunk.
    """

    def __init__(self, info: MetricInfo, *, crop: bool) -> None:
        super().__init__(info)
        self.crop = crop
        self.network: LpipsNetwork | None = None

    def setup(self, device: torch.device | str) -> None:
        """Load trunk and heads."""
        super().setup(device)
        self.network = LpipsNetwork("alex", self.info.weights, self.device)

    def score(self, batch: FrameBatch, previous: FrameBatch | None) -> Sequence[float]:
        pred, gt = self.changes(batch, previous, "pred"), self.changes(batch, previous, "gt")
        return [100 * abs(a - b) for a, b in zip(gt, pred, strict=True)]

    @torch.inference_mode()
    def changes(self, batch: FrameBatch, previous: FrameBatch | None, side: OneSide) -> list[float]:
        """LPIPS of every pair of consecutive frames of one side; that of the ground truth is stored."""
        network = self.network
        if network is None:
            raise MetricError(f"metric '{self.info.id}' is not set up", action="call setup(device) before update")

        def make(chosen: Sequence[int]) -> Maps:
            parts = [batch] if previous is None else [previous, batch]
            frames = [
                [layer[i : i + 1] for layer in maps]
                for maps in (network.shared_maps(part, side, cropped=self.crop) for part in parts)
                for i in range(len(maps[0]))
            ]
            terms = [lpips(frames[pair], frames[pair + 1], network.heads)[0] for pair in chosen]
            return [torch.tensor([math.fsum(layers) for layers in terms], dtype=torch.float64)]

        key = "lpips_alex.change.crop_8x8@1" if self.crop else "lpips_alex.change@1"
        changes: list[float] = batch.pair_maps(previous, side, key, make)[0].tolist()
        return changes
