"""The background-consistency metric of VBench."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch

from stvsr_bench.core.errors import MetricError
from stvsr_bench.metrics.base import FrameBatch, Metric
from stvsr_bench.metrics.catalog import MetricInfo
from stvsr_bench.metrics.clip_vit import ClipVit, build_clip_vit
from stvsr_bench.metrics.functional.background import clip_input, consistency
from stvsr_bench.nn.precision import use_exact_float32
from stvsr_bench.weights import service


class BackgroundConsistency(Metric):
    """Likeness of every frame to the one before and to the clip's first frame, in CLIP's features."""

    def __init__(self, info: MetricInfo) -> None:
        super().__init__(info)
        self.network: ClipVit | None = None

    def setup(self, device: torch.device | str) -> None:
        """Load CLIP's image encoder."""
        super().setup(device)
        use_exact_float32(self.device)
        (weight,) = self.info.weights
        self.network = build_clip_vit(service.load_weight(weight), self.device)

    def reset(self) -> None:
        super().reset()
        self._first: torch.Tensor | None = None

    @torch.inference_mode()
    def score(self, batch: FrameBatch, previous: FrameBatch | None) -> Sequence[float]:
        features = batch.joined(previous, self._features)
        if self._first is None:
            self._first = features[0].clone()
        first = self._first
        return [consistency(first, before, frame) for before, frame in pairwise(features)]

    def _features(self, part: FrameBatch) -> torch.Tensor:
        network = self.network
        if network is None:
            raise MetricError(f"metric '{self.info.id}' is not set up", action="call setup(device) before update")
        # one frame at a time, so that no value depends on the batch
        return part.feature(
            "pred",
            "clip_vit_b32@1",
            lambda: torch.cat([network(clip_input(frame[None])) for frame in part.u8("pred")]),
        )
