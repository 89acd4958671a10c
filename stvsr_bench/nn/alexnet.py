"""The convolutions of AlexNet, the trunk of several perceptual metrics."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

CHANNELS = (64, 192, 384, 256, 256)
"""Channels of the five taps."""


class AlexNetFeatures(nn.Module):
    """Five feature maps of an image, each after a ReLU; parameters are called as torchvision's: ``features.N``.

    Source: Krizhevsky, One weird trick for parallelizing convolutional neural networks (arXiv:1404.5997), as
    torchvision builds it; inputs need at least 31 pixels per side.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
        )

    def forward(self, x: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the maps of ``(N, 3, H, W)``, normalised as the metric says, from fine to coarse."""
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                yield x
