"""The convolutions of VGG16, the trunk of several perceptual metrics."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

CHANNELS = (64, 128, 256, 512, 512)
"""Channels of the five taps."""

_CONVOLUTIONS = (2, 2, 3, 3, 3)


class Vgg16Features(nn.Module):
    """Five feature maps of an image: relu1_2, 2_2, 3_3, 4_3, 5_3; parameters have torchvision's names, ``features.N``.

    Source: Simonyan and Zisserman (arXiv:1409.1556), as torchvision builds it; inputs need at least 16 pixels per side.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for stage, (channels, count) in enumerate(zip(CHANNELS, _CONVOLUTIONS, strict=True)):
            if stage:
                layers.append(nn.MaxPool2d(2))
            for _ in range(count):
                layers += [nn.Conv2d(inputs, channels, 3, padding=1), nn.ReLU()]
                inputs = channels
        self.features = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the maps of ``(N, 3, H, W)``, normalised as the metric says, from fine to coarse."""
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                yield x
            x = layer(x)
        yield x
