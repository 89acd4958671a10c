"""RRDBNet, the network of Real-ESRGAN x4plus.

Source: Wang et al., ESRGAN (arXiv:1809.00219) and Real-ESRGAN (arXiv:2107.10833); BasicSR 8d56e3a. Parameter names are
the official ones.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

SLOPE = 0.2
RESIDUAL = 0.2


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _lrelu(x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x, SLOPE)


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees the input and every earlier output: ``(N, features, h, w)`` to the same."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.conv1 = _conv(features, growth)
        self.conv2 = _conv(features + growth, growth)
        self.conv3 = _conv(features + 2 * growth, growth)
        self.conv4 = _conv(features + 3 * growth, growth)
        self.conv5 = _conv(features + 4 * growth, features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = x
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen = torch.cat([seen, _lrelu(conv(seen))], 1)
        last: torch.Tensor = self.conv5(seen)
        return last * RESIDUAL + x


class ResidualInResidual(nn.Module):
    """Three dense blocks inside one more residual."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(features, growth)
        self.rdb2 = DenseBlock(features, growth)
        self.rdb3 = DenseBlock(features, growth)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.rdb3(self.rdb2(self.rdb1(x)))
        return out * RESIDUAL + x


class RRDBNet(nn.Module):
    """RGB in [0, 1] ``(N, 3, h, w)`` to ``(N, 3, scale·h, scale·w)``, not clamped.

    Args:
        scale: 4, 2 or 1. The network always enlarges four times; for 2 and 1 it starts from the pixel-unshuffled input,
            whose sides must be multiples of 2 and 4.
        features: channels of the trunk.
        blocks: residual-in-residual blocks.
        growth: channels that each dense convolution adds.
    """

    def __init__(self, scale: int = 4, features: int = 64, blocks: int = 23, growth: int = 32) -> None:
        super().__init__()
        self.scale = scale
        self.unshuffle = 4 // scale
        self.conv_first = _conv(3 * self.unshuffle**2, features)
        self.body = nn.Sequential(*(ResidualInResidual(features, growth) for _ in range(blocks)))
        self.conv_body = _conv(features, features)
        self.conv_up1 = _conv(features, features)
        self.conv_up2 = _conv(features, features)
        self.conv_hr = _conv(features, features)
        self.conv_last = _conv(features, 3)

    @property
    def multiple(self) -> int:
        """Input sides must be multiples of this."""
        return self.unshuffle

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.unshuffle > 1:
            x = F.pixel_unshuffle(x, self.unshuffle)
        first = self.conv_first(x)
        x = first + self.conv_body(self.body(first))
        for conv in (self.conv_up1, self.conv_up2):
            x = _lrelu(conv(F.interpolate(x, scale_factor=2, mode="nearest")))
        out: torch.Tensor = self.conv_last(_lrelu(self.conv_hr(x)))
        return out
