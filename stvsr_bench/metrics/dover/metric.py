"""The DOVER metrics."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal

import numpy as np
import torch

from stvsr_bench.core.errors import MetricError
from stvsr_bench.metrics.catalog import MetricInfo
from stvsr_bench.metrics.clip_metric import ViewMetric
from stvsr_bench.metrics.clip_network import CLIP_LENGTH, ClipNetwork, shared_network
from stvsr_bench.metrics.clip_views import ClipView, FragmentView, Grid, SmallView
from stvsr_bench.metrics.dover.network import DoverNetwork
from stvsr_bench.metrics.functional.video_quality import aesthetic_logit, fused_logit, sigmoid, technical_logit
from stvsr_bench.metrics.functional.video_sampling import fragment_indices

Score = Literal["fused", "technical", "aesthetic"]


def technical_indices(count: int, rng: np.random.RandomState) -> tuple[int, ...]:
    """Frames of the technical view: 32 frames, two apart, from each third of the clip."""
    return fragment_indices(count, fragments=3, length=CLIP_LENGTH, interval=2, rng=rng)


def aesthetic_indices(count: int, rng: np.random.RandomState) -> tuple[int, ...]:
    """Frames of the aesthetic view: one from each thirty-second part; of a shorter clip only the first, repeated."""
    return fragment_indices(count, fragments=CLIP_LENGTH, length=1, interval=2, rng=rng)


class Dover(ViewMetric):
    """DOVER's fused, technical or aesthetic score of a clip.

    The ids share the network, the views and each branch's pass over them.

    Args:
        info: the catalogue's facts; its first weight is the network's.
        score: which score; only the branches that it needs run.
        grid: where the fragments of frames with a side below 224 are taken from.
        antialias: how the aesthetic view is made smaller.
    """

    def __init__(self, info: MetricInfo, *, score: Score, grid: Grid = "reference", antialias: bool = True) -> None:
        super().__init__(info)
        self._score: Score = score
        self._grid: Grid = grid
        self._antialias = antialias
        self._network: ClipNetwork | None = None

    def setup(self, device: torch.device | str) -> None:
        """Load the network, unless another metric holds it."""
        super().setup(device)
        self._network = shared_network(DoverNetwork, self.info.weights[0], self.device)

    def plan(self, frames: int, size: tuple[int, int]) -> Mapping[str, ClipView]:
        technical = partial(FragmentView, size=size, aligned=CLIP_LENGTH, grid=self._grid)
        aesthetic = partial(SmallView, antialias=self._antialias)
        views: dict[str, ClipView] = {}
        if self._score != "aesthetic":
            views["technical"] = technical("dover.technical", self.clip, frames, technical_indices, device=self.device)
        if self._score != "technical":
            views["aesthetic"] = aesthetic("dover.aesthetic", self.clip, frames, aesthetic_indices, device=self.device)
        return views

    def rate(self, views: Mapping[str, ClipView]) -> float:
        if self._network is None:
            raise MetricError(f"metric '{self.info.id}' is not set up", action="call setup(device) before update")
        raw = {
            branch: self._network.raw(f"{branch}_backbone", f"{branch}_head", view.pixels)
            for branch, view in views.items()
        }
        match self._score:
            case "fused":
                return sigmoid(fused_logit(raw["technical"], raw["aesthetic"]))
            case "technical":
                return sigmoid(technical_logit(raw["technical"]))
            case "aesthetic":
                return sigmoid(aesthetic_logit(raw["aesthetic"]))
