"""Ψ of DiffST: three predictions of one intermediate frame become one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stvsr_bench.core.errors import ConfigError


class Fusion(nn.Module):
    """Ψ(a, f, b) = a + R([a, f, b]), clamped to [0, 1]; R starts at zero, so a fresh Ψ returns ``a``.

    Normalisation runs over the whole frame: a frame cannot be tiled without changing it.

    Source: DiffST (arXiv 2605.13182), equation 5, which says «learnable fusion network» and no more. The pattern (one
    prediction plus a residual of all three, GroupNorm, SiLU) is that of the three-input fusion of DOVE, the same
    group's work; width and depth are our choice and bring the whole model to the printed number of parameters.

    Args:
        width: channels, a multiple of ``groups``.
        blocks: residual blocks.
        groups: of each normalisation.

    Raises:
        ConfigError: a width that the groups do not divide, or less than one block or channel.
    """

    def __init__(self, width: int = 192, blocks: int = 7, groups: int = 8) -> None:
        super().__init__()
        if min(width, blocks, groups) < 1 or width % groups:
            raise ConfigError(
                "method 'diffst': cfca.psi",
                got=f"width {width}, blocks {blocks}, groups {groups}",
                accepted="at least 1 each, the width a multiple of the groups",
            )
        self.first = nn.Conv2d(9, width, 3, padding=1)
        self.norm = Norm(groups, width)
        self.blocks = nn.ModuleList(FusionBlock(width, groups) for _ in range(blocks))
        self.last = nn.Conv2d(width, 3, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, a: Tensor, f: Tensor, b: Tensor) -> Tensor:
        """Fuse the predictions from the input keyframes, the forward and the backward video.

        Args:
            a: ``(B, 3, h, w)`` float32 RGB in [0, 1], on the LR grid.
            f: likewise.
            b: likewise.

        Returns:
            ``(B, 3, h, w)`` float32 in [0, 1]. The residual is computed in the dtype of the parameters.
        """
        x: Tensor = self.first(torch.cat([a, f, b], 1).to(self.first.weight.dtype))
        x = F.silu(self.norm(x))
        for block in self.blocks:
            x = block(x)
        residual: Tensor = self.last(x)
        return (a + residual.float()).clamp(0, 1)


class FusionBlock(nn.Module):
    """``x + conv(silu(norm(conv(silu(norm(x))))))`` with 3×3 convolutions, ``(B, width, h, w)`` to the same."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.norm1 = Norm(groups, width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.norm2 = Norm(groups, width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.conv1(F.silu(self.norm1(x)))
        inner = self.conv2(F.silu(self.norm2(inner)))
        return x + inner


class Norm(nn.GroupNorm):
    """Group normalisation that takes a frame of one pixel, too; torch's module refuses a single one for training."""

    def forward(self, input: Tensor) -> Tensor:
        return torch.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)
