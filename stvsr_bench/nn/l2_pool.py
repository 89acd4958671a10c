"""Pooling of feature maps by a blurred root mean square."""

from __future__ import annotations

import torch
from torch import nn

FLOOR = 1e-12
"""Added under the root."""
_BLOCK = 1 << 18
"""Samples that are pooled at a time on a CPU, so that they stay in its cache."""


class L2Pool(nn.Module):
    """√(blur(x²) + 1e-12) at every second position, blur by the 3×3 kernel (1, 2, 1)ᵀ(1, 2, 1) / 16 with zeros outside.

    The kernel is the inside of a Hann window of five samples, normalised.

    Shapes: ``(N, C, H, W)`` → ``(N, C, ceil(H / 2), ceil(W / 2))``; channels lie last in memory where they do in ``x``.
    Source: Ding et al. 2020 (arXiv:2004.07728), section 3.1, after Hénaff and Simoncelli (arXiv:1511.06394).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pool ``x``."""
        if x.device.type != "cpu":
            return _pool(x.square(), first=False)
        height, row = x.shape[2], max(1, x[:, :, 0].numel())
        rows = max(1, _BLOCK // (2 * row))
        parts = []
        for start in range(0, -(-height // 2), rows):
            above = max(0, 2 * start - 1)  # the row before the block belongs to its first mean
            block = x[:, :, above : min(height, 2 * (start + rows))].square()
            parts.append(_pool(block, first=start > 0))
        return torch.cat(parts, dim=2)


def _pool(energy: torch.Tensor, *, first: bool) -> torch.Tensor:
    """Blur and root of squared samples; ``first`` says that their first row only lies before the block."""
    return _blurred_half(_blurred_half(energy, 2, int(first)), 3, 0).add_(FLOOR).sqrt_()


def _blurred_half(x: torch.Tensor, axis: int, start: int) -> torch.Tensor:
    """(left + 2 · middle + right) / 4 at every second position of one axis from ``start``, with zeros outside."""
    every = (slice(None),) * axis
    out = x[(*every, slice(start, None, 2))] / 2
    right = x[(*every, slice(start + 1, None, 2))]  # absent at the end of an odd length
    out.narrow(axis, 0, right.shape[axis]).add_(right, alpha=0.25)
    left, skipped = (x[(*every, slice(0, None, 2))], 0) if start else (right, 1)
    count = out.shape[axis] - skipped
    out.narrow(axis, skipped, count).add_(left.narrow(axis, 0, count), alpha=0.25)
    return out
