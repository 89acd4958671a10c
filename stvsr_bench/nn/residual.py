"""Residual blocks without normalisation, and the trunk of recurrent super-resolution networks made of them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """``x + conv2(relu(conv1(x)))`` with 3x3 convolutions, ``(B, features, H, W)`` to the same.

    Source: Lim and others, «Enhanced Deep Residual Networks for Single Image Super-Resolution», CVPRW 2017, figure 2c,
    without a scale factor.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.conv2(F.relu_(self.conv1(x)))
        return inner.add_(x)


class ResidualTrunk(nn.Module):
    """A 3x3 convolution from ``inputs`` to ``features`` channels, LeakyReLU 0.1, then ``blocks`` residual blocks."""

    def __init__(self, inputs: int, features: int, blocks: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(inputs, features, 3, padding=1),
            nn.LeakyReLU(0.1, inplace=True),
            nn.Sequential(*(ResidualBlock(features) for _ in range(blocks))),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.main(x)
        return out
