"""The ST-LPIPS metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import nn

from stvsr_bench.core.errors import MetricError
from stvsr_bench.metrics.base import FrameBatch, Metric
from stvsr_bench.metrics.catalog import MetricInfo
from stvsr_bench.metrics.functional.lpips import SCALE, SHIFT, lpips, unit
from stvsr_bench.nn import alexnet, vgg
from stvsr_bench.nn.blur_pool import BlurPool
from stvsr_bench.nn.precision import use_exact_float32
from stvsr_bench.weights import service
from stvsr_bench.weights.strict import load_strict

Net = Literal["alex", "vgg"]


def _alex() -> list[list[nn.Module]]:
    one, two, three, four, five = alexnet.CHANNELS
    return [
        [nn.Conv2d(3, one, 11, padding=2), BlurPool(one), nn.ReLU(inplace=True)],
        [nn.MaxPool2d(3, stride=1), BlurPool(one), nn.Conv2d(one, two, 5, padding=2), nn.ReLU(inplace=True)],
        [nn.MaxPool2d(3, stride=1), BlurPool(two), nn.Conv2d(two, three, 3, padding=1), nn.ReLU(inplace=True)],
        [nn.Conv2d(three, four, 3, padding=1), nn.ReLU(inplace=True)],
        [nn.Conv2d(four, five, 3, padding=1), nn.ReLU(inplace=True)],
    ]


def _vgg() -> list[list[nn.Module]]:
    slices: list[list[nn.Module]] = []
    inputs = 3
    for channels, count in zip(vgg.CHANNELS, (2, 2, 3, 3, 3), strict=True):
        layers: list[nn.Module] = [nn.MaxPool2d(2, stride=1), BlurPool(inputs)] if slices else []
        for _ in range(count):
            layers += [nn.Conv2d(inputs, channels, 3, padding=1), nn.ReLU(inplace=True)]
            inputs = channels
        slices.append(layers)
    return slices


class _Trunk(nn.Module):
    """Five slices; the layers are numbered through, as the published parameters are."""

    def __init__(self, slices: Sequence[Sequence[nn.Module]]) -> None:
        super().__init__()
        number = 0
        for i, layers in enumerate(slices, 1):
            part = nn.Sequential()
            for layer in layers:
                part.add_module(str(number), layer)
                number += 1
            self.add_module(f"slice{i}", part)

    def forward(self, x: torch.Tensor) -> Iterator[torch.Tensor]:
        for part in self.children():
            x = part(x)
            yield x


class _Scaling(nn.Module):
    shift: torch.Tensor
    scale: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1))


class _Head(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Dropout(), nn.Conv2d(channels, 1, 1, bias=False))


class StLpipsNetwork(nn.Module):
    """Trunk and heads of ST-LPIPS; the state dict is the published file's.

    Source: Ghildyal and Liu, Shift-tolerant perceptual similarity metric (arXiv:2207.13686).

    Args:
        net: the trunk.
    """

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.scaling_layer = _Scaling()
        self.net = _Trunk(_alex() if net == "alex" else _vgg())
        for i, channels in enumerate(alexnet.CHANNELS if net == "alex" else vgg.CHANNELS):
            self.add_module(f"lin{i}", _Head(channels))

    def heads(self) -> list[torch.Tensor]:
        """Weights of the five layers, ``(1, C, 1, 1)``."""
        return [self.get_parameter(f"lin{i}.model.1.weight") for i in range(5)]

    def unit_maps(self, frame: torch.Tensor) -> Iterator[torch.Tensor]:
        """Unit feature maps of one frame, float32 RGB in [0, 1] ``(3, H, W)``, from fine to coarse."""
        scaling = self.scaling_layer
        # contiguous first: the order of the caller's memory must not choose the order of sums
        image = (2 * frame[None].contiguous() - 1 - scaling.shift) / scaling.scale
        return map(unit, self.net(image.contiguous(memory_format=torch.channels_last)))


class StLpips(Metric):
    """ST-LPIPS of every frame.

    Args:
        info: the catalogue's facts; its one weight is the whole network.
        net: the trunk.
    """

    def __init__(self, info: MetricInfo, *, net: Net) -> None:
        super().__init__(info)
        self.net: Net = net
        self._network: StLpipsNetwork | None = None

    def setup(self, device: torch.device | str) -> None:
        """Load trunk and heads."""
        super().setup(device)
        use_exact_float32(self.device)
        network = StLpipsNetwork(self.net)
        (weight,) = self.info.weights
        load_strict(network, service.load_weight(weight))
        self._network = network.eval().requires_grad_(False).to(self.device)

    @torch.inference_mode()
    def score(self, batch: FrameBatch, previous: FrameBatch | None) -> Sequence[float]:
        network = self._network
        if network is None:
            raise MetricError(f"metric '{self.info.id}' is not set up", action="call setup(device) before update")
        heads = network.heads()
        frames = zip(batch.rgb("pred"), batch.rgb("gt"), strict=True)  # one at a time: the maps are large
        return [
            math.fsum(terms)
            for pred, gt in frames
            for terms in lpips(network.unit_maps(pred), network.unit_maps(gt), heads)
        ]
