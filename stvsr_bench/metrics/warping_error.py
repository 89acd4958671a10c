"""Warping errors: how well each frame can be made from the next one along the motion."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch

from stvsr_bench.core.errors import MetricError
from stvsr_bench.metrics.base import FrameBatch, Metric
from stvsr_bench.metrics.batch import Maps
from stvsr_bench.metrics.catalog import MetricInfo
from stvsr_bench.metrics.features import farneback, farneback_of, interleaved
from stvsr_bench.metrics.functional.warping import halved, lai_error, occluded, warping_error
from stvsr_bench.metrics.pair_flow import build_raft
from stvsr_bench.nn.precision import use_exact_float32
from stvsr_bench.nn.raft import raft_flow
from stvsr_bench.weights import service

_HIDDEN = "every pixel is occluded or on a motion boundary"


class LaiWarpingError(Metric):
    """Lai's warping error along the Farneback flow of the ground truth; flow and occlusion mask are stored.

    The flow comes from OpenCV, on the CPU, so all of it is computed there, on every device to the same bit.
    """

    def score(self, batch: FrameBatch, previous: FrameBatch | None) -> Sequence[float]:
        flows = farneback(batch, previous, "gt")

        def make(chosen: Sequence[int]) -> Maps:
            back = farneback_of(batch, previous, "gt", chosen, backward=True).permute(0, 3, 1, 2)
            masks = torch.empty(len(chosen), batch.height, batch.width, dtype=torch.bool)
            for mask, pair, flow in zip(masks, chosen, back, strict=True):
                mask.copy_(occluded(flows[pair].permute(2, 0, 1)[None], flow[None]))
            return [masks]

        hidden = batch.pair_maps(previous, "gt", "occlusion.lai.farneback.u8@1", make, device="cpu")[0]
        parts = [batch] if previous is None else [previous, batch]
        frames = [frame for part in parts for frame in interleaved(part, "pred")]
        return [lai_error(frames[i], frames[i + 1], flows[i], hidden[i]) for i in range(len(flows))]

    def why_excluded(self, value: float) -> str:
        return _HIDDEN if value != value else super().why_excluded(value)


class EWarp(Metric):
    """E*: warping error of the restored clip along its own RAFT flow, at half size.

    Args:
        info: the catalogue's facts; its ``weights`` are RAFT.
        scale: what RAFT is given frames in, which it takes for 0 … 255: ``unit`` as circulated, ``byte`` corrected.
    """

    _UPDATES = 20

    def __init__(self, info: MetricInfo, *, scale: Literal["unit", "byte"]) -> None:
        super().__init__(info)
        self.largest = 1.0 if scale == "unit" else 255.0
        self.network: torch.nn.Module | None = None

    def setup(self, device: torch.device | str) -> None:
        """Load RAFT."""
        super().setup(device)
        use_exact_float32(self.device)
        (weight,) = self.info.weights
        self.network = build_raft(service.load_weight(weight), self.device)

    @torch.inference_mode()
    def score(self, batch: FrameBatch, previous: FrameBatch | None) -> Sequence[float]:
        if self.network is None:
            raise MetricError(f"metric '{self.info.id}' is not set up", action="call setup(device) before update")
        parts = [batch] if previous is None else [previous, batch]
        frames = [frame for part in parts for frame in self._half(part)]
        values = []
        for first, second in pairwise(frames):
            a, b = (2 * (frame * self.largest / 255) - 1 for frame in (first, second))
            forward, backward = (raft_flow(self.network, x, y, self._UPDATES) for x, y in ((a, b), (b, a)))
            values.append(1000 * warping_error(first, second, forward, occluded(forward, backward)))
        return values

    def _half(self, part: FrameBatch) -> list[torch.Tensor]:
        frames = part.feature(
            "pred", "ewarp.half@1", lambda: torch.cat([halved(frame[None]) for frame in part.rgb("pred")])
        )
        return [frame[None] for frame in frames]

    def why_excluded(self, value: float) -> str:
        return _HIDDEN if value != value else super().why_excluded(value)
