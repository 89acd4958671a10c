"""The FasterVQA metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import nn

from stvsr_bench.core.errors import MetricError
from stvsr_bench.metrics.catalog import MetricInfo
from stvsr_bench.metrics.clip_metric import ViewMetric
from stvsr_bench.metrics.clip_network import CLIP_LENGTH, ClipNetwork, shared_network
from stvsr_bench.metrics.clip_views import ClipView, FragmentView, Grid, Sampler
from stvsr_bench.metrics.functional.video_quality import fastervqa_logit, sigmoid
from stvsr_bench.metrics.functional.video_sampling import centred_indices, fragment_indices
from stvsr_bench.nn.swin3d import DIM, VideoSwin
from stvsr_bench.nn.vqa_head import VqaHead

Sampling = Literal["cli", "dataset"]
_ALIGNED = 8


class FasterVqaNetwork(nn.Module):
    """The trunk and the head, called as in ``FAST_VQA_3D_1_1.pth``.

    Args:
        dim: channels of the trunk's first stage.

    Source: Wu et al. 2023, Neighbourhood Representative Sampling for Efficient End-to-end Video Quality Assessment
    (arXiv:2210.05357).
    """

    def __init__(self, dim: int = DIM) -> None:
        super().__init__()
        self.fragments_backbone = VideoSwin(dim)
        self.vqa_head = VqaHead(8 * dim)


def cli_indices(count: int, rng: np.random.RandomState) -> tuple[int, ...]:
    """Frames that the reference's command ``vqa.py`` looks at: 32 consecutive ones in the middle, without a draw."""
    del rng
    return centred_indices(count, CLIP_LENGTH)


def dataset_indices(count: int, rng: np.random.RandomState) -> tuple[int, ...]:
    """Frames that the reference's data set class looks at: four frames, two apart, from each eighth of the clip."""
    return fragment_indices(count, fragments=8, length=4, interval=2, rng=rng)


_SAMPLERS: dict[Sampling, Sampler] = {"cli": cli_indices, "dataset": dataset_indices}


class FasterVqa(ViewMetric):
    """FasterVQA's score of a clip.

    Args:
        info: the catalogue's facts; its first weight is the network's.
        sampling: which frames are looked at.
        grid: where the fragments of frames with a side below 224 are taken from.
    """

    def __init__(self, info: MetricInfo, *, sampling: Sampling, grid: Grid = "reference") -> None:
        super().__init__(info)
        self._sampling: Sampling = sampling
        self._grid: Grid = grid
        self._network: ClipNetwork | None = None

    def setup(self, device: torch.device | str) -> None:
        """Load the network, unless another metric holds it."""
        super().setup(device)
        self._network = shared_network(FasterVqaNetwork, self.info.weights[0], self.device)

    def plan(self, frames: int, size: tuple[int, int]) -> Mapping[str, ClipView]:
        name, sampler = f"fastervqa.{self._sampling}", _SAMPLERS[self._sampling]
        view = FragmentView(
            name, self.clip, frames, sampler, size=size, aligned=_ALIGNED, grid=self._grid, device=self.device
        )
        return {"fragments": view}

    def rate(self, views: Mapping[str, ClipView]) -> float:
        if self._network is None:
            raise MetricError(f"metric '{self.info.id}' is not set up", action="call setup(device) before update")
        return sigmoid(fastervqa_logit(self._network.raw("fragments_backbone", "vqa_head", views["fragments"].pixels)))
