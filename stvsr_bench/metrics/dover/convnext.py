"""ConvNeXt-T inflated to video: the trunk of DOVER's aesthetic branch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

DIM = 96
DEPTHS = (3, 3, 9, 3)
_EPS = 1e-6


class _Norm(nn.LayerNorm):
    """LayerNorm over the channels of ``(B, C, D, H, W)``."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, eps=_EPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3)


class _Depthwise(nn.Conv3d):
    """A depthwise convolution, as a sum over time of depthwise convolutions in space.

    The sum is what the plain convolution is; CPUs have fast code only for the two-dimensional one.
    """

    def __init__(self, dim: int, time: int) -> None:
        super().__init__(dim, dim, (time, 7, 7), padding=(time // 2, 3, 3), groups=dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, dim, frames, height, width = x.shape
        flat = x.transpose(1, 2).reshape(batch * frames, dim, height, width)
        reach = self.weight.shape[2] // 2
        out = F.conv2d(flat, self.weight[:, :, reach], self.bias, padding=3, groups=dim)
        out = out.reshape(batch, frames, dim, height, width)
        for step in range(1, min(reach, frames - 1) + 1):
            later = F.conv2d(flat, self.weight[:, :, reach + step], padding=3, groups=dim).reshape(out.shape)
            earlier = F.conv2d(flat, self.weight[:, :, reach - step], padding=3, groups=dim).reshape(out.shape)
            out[:, :-step] += later[:, step:]
            out[:, step:] += earlier[:, :-step]
        return out.transpose(1, 2)


class _Block(nn.Module):
    def __init__(self, dim: int, time: int) -> None:
        super().__init__()
        self.dwconv = _Depthwise(dim, time)
        self.norm = nn.LayerNorm(dim, eps=_EPS)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.pwconv2 = nn.Linear(4 * dim, dim)
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.norm(self.dwconv(x).permute(0, 2, 3, 4, 1))
        tokens = self.gamma * self.pwconv2(F.gelu(self.pwconv1(tokens)))
        out: torch.Tensor = x + tokens.permute(0, 4, 1, 2, 3)
        return out


class InflatedConvNext(nn.Module):
    """ConvNeXt-T with a patch of two frames and, in every second of three blocks, a kernel of three frames.

    Args:
        dim: channels of the first stage; each later one has twice as many.
        depths: blocks of the four stages.

    Source: Liu et al. 2022, A ConvNet for the 2020s (arXiv:2201.03545); Wu et al. 2023, DOVER (arXiv:2211.04894).
    """

    def __init__(self, dim: int = DIM, depths: Sequence[int] = DEPTHS) -> None:
        super().__init__()
        stem = nn.Sequential(nn.Conv3d(3, dim, (2, 4, 4), (2, 4, 4)), _Norm(dim))
        halvings = (
            nn.Sequential(_Norm(dim << stage), nn.Conv3d(dim << stage, dim << stage + 1, (1, 2, 2), (1, 2, 2)))
            for stage in range(len(depths) - 1)
        )
        self.downsample_layers = nn.ModuleList((stem, *halvings))
        self.stages = nn.ModuleList(
            nn.Sequential(*(_Block(dim << stage, 3 if number % 3 == 1 else 1) for number in range(depth)))
            for stage, depth in enumerate(depths)
        )
        self.norm = _Norm(dim << len(depths) - 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features ``(B, 8·dim, D/2, H/32, W/32)`` of normalised clips ``(B, 3, D, H, W)``."""
        for smaller, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(smaller(x))
        out: torch.Tensor = self.norm(x)
        return out
