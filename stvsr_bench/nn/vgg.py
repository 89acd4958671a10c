"""The convolutions of VGG16, the trunk of several perceptual metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import nn

CHANNELS = (64, 128, 256, 512, 512)
"""Channels of the five taps."""

_CONVOLUTIONS = (2, 2, 3, 3, 3)


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _max_pool(channels: int) -> nn.Module:
    del channels
    return nn.MaxPool2d(2)


class Vgg16Features(nn.Module):
    """Five feature maps of an image: relu1_2, 2_2, 3_3, 4_3, 5_3; parameters have torchvision's names, ``features.N``.

    Source: Simonyan and Zisserman (arXiv:1409.1556), as torchvision builds it; inputs need at least 16 pixels per side.

    Args:
        pool: makes what halves the maps between two taps from their channels; without parameters.
        convolution: makes a 3×3 convolution from its channels in and out.
    """

    def __init__(
        self,
        pool: Callable[[int], nn.Module] = _max_pool,
        convolution: Callable[[int, int], nn.Conv2d] = _convolution,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        self._pools: list[int] = []
        for stage, (channels, count) in enumerate(zip(CHANNELS, _CONVOLUTIONS, strict=True)):
            if stage:
                self._pools.append(len(layers))
                layers.append(pool(inputs))
            for _ in range(count):
                layers += [convolution(inputs, channels), nn.ReLU(inplace=True)]
                inputs = channels
        self.features = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the maps of ``(N, 3, H, W)``, normalised as the metric says, from fine to coarse."""
        for number, layer in enumerate(self.features):
            if number in self._pools:
                yield x
            x = layer(x)
        yield x
