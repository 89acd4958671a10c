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
from stvsr_bench.metrics.planes import crop_8x8
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
    def shared_maps(self, batch: FrameBatch, side: OneSide, *, cropped: bool = False) -> list[torch.Tensor]:
        """The shared feature of one side of ``batch``: five tensors ``(T, C, h, w)``. For AlexNet only.

        VGG16's maps are fifteen times larger and nothing else reads them: they are used up layer by layer.

        Args:
            batch: the frames.
            side: whose maps.
            cropped: of the frames cut to TecoGAN's ``crop_8x8``, not of the whole ones; the convolutions then see
                another border, so neither can be cut out of the other.
        """

        def make(part: FrameBatch) -> list[torch.Tensor]:
            images = part.rgb(side)
            if cropped:
                rows, columns = crop_8x8(batch.height, batch.width)
                images = images[:, :, rows, columns]
            frames = [list(self.unit_maps(frame)) for frame in images]
            return [torch.cat(maps) for maps in zip(*frames, strict=True)]

        return batch.maps(side, "alexnet.lpips.crop_8x8@1" if cropped else "alexnet.lpips@1", make)


class Lpips(Metric):
    """LPIPS of every frame.

    Args:
        info: the catalogue's facts; its ``weights`` are the trunk and the heads.
        net: the trunk.
        crop: TecoGAN's crop of the frames before the trunk, or none; with AlexNet only.

    Raises:
        MetricError: a crop with another trunk.
    """

    def __init__(self, info: MetricInfo, *, net: Net, crop: Literal["crop_8x8"] | None = None) -> None:
        super().__init__(info)
        if crop is not None and net != "alex":
            raise MetricError(f"metric '{info.id}': only LPIPS with AlexNet has a crop", got=f"net={net}, crop={crop}")
        self.net: Net = net
        self.cropped = crop is not None
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
            pred, gt = (network.shared_maps(batch, side, cropped=self.cropped) for side in ("pred", "gt"))
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
