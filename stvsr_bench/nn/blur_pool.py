"""Halving of feature maps with a low-pass filter before it."""

from __future__ import annotations

import torch
from torch import nn

_PADDING = 2


class BlurPool(nn.Module):
    """Every second sample of a map filtered by (1, 2, 1)ᵀ(1, 2, 1) / 16, two mirrored samples added at every side.

    Shapes: ``(N, C, H, W)`` → ``(N, C, (H + 1) // 2 + 1, (W + 1) // 2 + 1)``; sides of at least 3.
    Source: Zhang, Making convolutional networks shift-invariant again (arXiv:1904.11486), with the padding of
    Ghildyal and Liu (arXiv:2207.13686).

    Args:
        channels: of the map.

    Attributes:
        filt: the kernel once for each channel, ``(C, 1, 3, 3)``; published parameters hold it.
    """

    filt: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        side = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("filt", torch.outer(side, side).expand(channels, 1, 3, 3).contiguous())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Filter and halve ``x``."""
        padded = nn.functional.pad(x, (_PADDING,) * 4, mode="reflect")
        return nn.functional.conv2d(padded, self.filt, stride=2, groups=len(self.filt))
