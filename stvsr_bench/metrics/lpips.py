"""The LPIPS metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch

from stvsr_bench.core.errors import MetricError
from stvsr_bench.metrics.base import FrameBatch, Metric
from stvsr_bench.metrics.catalog import MetricInfo
from stvsr_bench.metrics.functional.lpips import lpips, prepare, unit
from stvsr_bench.nn.alexnet import AlexNetFeatures
from stvsr_bench.nn.precision import use_exact_float32
from stvsr_bench.nn.vgg import Vgg16Features
from stvsr_bench.weights.service import load_weight
from stvsr_bench.weights.strict import load_strict

Net = Literal["alex", "vgg"]
Side = Literal["pred", "gt"]

_TRUNKS: dict[Net, Callable[[], AlexNetFeatures | Vgg16Features]] = {"alex": AlexNetFeatures, "vgg": Vgg16Features}


class Lpips(Metric):
    """LPIPS of every frame; the trunk runs on one frame at a time, so no value depends on the batch.

    With AlexNet, the unit feature maps of a frame are the shared feature ``lpips.alex``: five tensors ``(T, C, h, w)``,
    which other metrics over the same trunk and scaling ask for instead of computing them again. VGG16's are fifteen
    times larger and nothing else reads them, so they are used up layer by layer.

    Args:
        info: the catalogue's facts; its ``weights`` are the trunk and the heads.
        net: the trunk.
    """

    def __init__(self, info: MetricInfo, *, net: Net) -> None:
        super().__init__(info)
        self.net: Net = net
        self._trunk: torch.nn.Module | None = None
        self._heads: list[torch.Tensor] = []

    def setup(self, device: torch.device | str) -> None:
        """Load trunk and heads."""
        super().setup(device)
        use_exact_float32(self.device)
        trunk_weight, heads_weight = self.info.weights
        trunk = _TRUNKS[self.net]()
        load_strict(trunk, load_weight(trunk_weight))
        self._trunk = trunk.eval().requires_grad_(False).to(self.device)
        heads = load_weight(heads_weight)
        self._heads = [heads[f"lin{i}.model.1.weight"].to(self.device) for i in range(len(heads))]

    def score(self, batch: FrameBatch, previous: FrameBatch | None) -> Sequence[float]:
        return [math.fsum(layers) for layers in self.layers(batch)]

    @torch.inference_mode()
    def layers(self, batch: FrameBatch) -> list[tuple[float, ...]]:
        """The terms of the five layers for every frame of ``batch``; their sum is the score."""
        if self.net == "alex":
            pred, gt = self.features(batch, "pred"), self.features(batch, "gt")
            return [
                terms
                for i in range(len(batch))
                for terms in lpips([f[i : i + 1] for f in pred], [f[i : i + 1] for f in gt], self._heads)
            ]
        return [
            terms
            for pred, gt in zip(batch.rgb("pred"), batch.rgb("gt"), strict=True)
            for terms in lpips(self._maps(pred), self._maps(gt), self._heads)
        ]

    def features(self, batch: FrameBatch, side: Side) -> list[torch.Tensor]:
        """The shared feature ``lpips.alex`` of one side of ``batch``."""

        def make() -> list[torch.Tensor]:
            frames = [list(self._maps(frame)) for frame in batch.rgb(side)]
            return [torch.cat(maps) for maps in zip(*frames, strict=True)]

        return batch.feature(side, "lpips.alex", make)

    def _maps(self, frame: torch.Tensor) -> map[torch.Tensor]:
        if self._trunk is None:
            raise MetricError(f"metric '{self.info.id}' is not set up", action="call setup(device) before update")
        return map(unit, self._trunk(prepare(frame[None])))
