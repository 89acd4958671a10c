"""The LPIPS metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch

from stvsr_bench.core.errors import MetricError
from stvsr_bench.metrics.base import FrameBatch, Metric
from stvsr_bench.metrics.batch import OneSide
from stvsr_bench.metrics.catalog import MetricInfo
from stvsr_bench.metrics.functional.lpips import lpips, prepare, unit
from stvsr_bench.nn.alexnet import AlexNetFeatures
from stvsr_bench.nn.precision import use_exact_float32
from stvsr_bench.nn.vgg import Vgg16Features
from stvsr_bench.weights import service
from stvsr_bench.weights.strict import load_strict

Net = Literal["alex", "vgg"]

_TRUNKS: dict[Net, Callable[[], AlexNetFeatures | Vgg16Features]] = {"alex": AlexNetFeatures, "vgg": Vgg16Features}


class LpipsNetwork:
    """Trunk and heads of LPIPS on a device; the trunk runs on one frame at a time, so no value depends on the batch.

    Args:
        net: the trunk.
        weights: ids of the trunk's and the heads' weights.
        device: where it runs.
    """

    def __init__(self, net: Net, weights: Sequence[str], device: torch.device) -> None:
        use_exact_float32(device)
        trunk = _TRUNKS[net]()
        trunk_weight, heads_weight = weights
        load_strict(trunk, service.load_weight(trunk_weight))
        self._trunk = trunk.eval().requires_grad_(False).to(device)
        heads = service.load_weight(heads_weight)
        self.heads = [heads[f"lin{i}.model.1.weight"].to(device) for i in range(len(heads))]

    def unit_maps(self, frame: torch.Tensor) -> map[torch.Tensor]:
        """Unit feature maps of one frame, float32 RGB in [0, 1] ``(3, H, W)``, from fine to coarse."""
        return map(unit, self._trunk(prepare(frame[None])))

    @torch.inference_mode()
    def shared_maps(self, batch: FrameBatch, side: OneSide) -> list[torch.Tensor]:
        """The shared feature of one side of ``batch``: five tensors ``(T, C, h, w)``. For AlexNet only.

        VGG16's maps are fifteen times larger and nothing else reads them: they are used up layer by layer.
        """

        def make(part: FrameBatch) -> list[torch.Tensor]:
            frames = [list(self.unit_maps(frame)) for frame in part.rgb(side)]
            return [torch.cat(maps) for maps in zip(*frames, strict=True)]

        return batch.maps(side, "alexnet.lpips@1", make)


class Lpips(Metric):
    """LPIPS of every frame.

    Args:
        info: the catalogue's facts; its ``weights`` are the trunk and the heads.
        net: the trunk.
    """

    def __init__(self, info: MetricInfo, *, net: Net) -> None:
        super().__init__(info)
        self.net: Net = net
        self.network: LpipsNetwork | None = None

    def setup(self, device: torch.device | str) -> None:
        """Load trunk and heads."""
        super().setup(device)
        self.network = LpipsNetwork(self.net, self.info.weights, self.device)

    def score(self, batch: FrameBatch, previous: FrameBatch | None) -> Sequence[float]:
        return [math.fsum(layers) for layers in self.layers(batch)]

    @torch.inference_mode()
    def layers(self, batch: FrameBatch) -> list[tuple[float, ...]]:
        """The terms of the five layers for every frame of ``batch``; their sum is the score."""
        network = self.network
        if network is None:
            raise MetricError(f"metric '{self.info.id}' is not set up", action="call setup(device) before update")
        if self.net == "alex":
            pred, gt = network.shared_maps(batch, "pred"), network.shared_maps(batch, "gt")
            return [
                terms
                for i in range(len(batch))
                for terms in lpips([f[i : i + 1] for f in pred], [f[i : i + 1] for f in gt], network.heads)
            ]
        return [
            terms
            for pred, gt in zip(batch.rgb("pred"), batch.rgb("gt"), strict=True)
            for terms in lpips(network.unit_maps(pred), network.unit_maps(gt), network.heads)
        ]
