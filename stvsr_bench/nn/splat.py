"""Forward warping: every pixel is spread over the four pixels around the place it moves to."""

from __future__ import annotations

import torch
from torch import Tensor

from stvsr_bench.nn.warp import base_grid


def forward_splat(values: Tensor, flow: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Move ``values`` along ``flow`` and average what arrives at the same pixel.

    Args:
        values: ``(C, H, W)``.
        flow: ``(2, H, W)`` pixels, channel 0 is dx, channel 1 is dy.
        weight: ``(1, H, W)`` at least 0: how much each pixel counts where several arrive.

    Returns:
        The weighted mean ``(C, H, W)``, 0 where nothing arrives, and the arrived weight ``(1, H, W)``. Sums are
        taken in a fixed order on the CPU, so results are equal to the bit.
    """
    channels, height, width = values.shape
    at = base_grid(height, width, flow.device, flow.dtype)[0] + flow
    corner = at.floor()
    right, low = at - corner
    # one pixel of margin on every side takes what leaves the frame
    wide = width + 2
    column = corner[0].clamp(-2, width).to(torch.int64) + 1
    row = corner[1].clamp(-2, height).to(torch.int64) + 1
    carried = torch.cat([values * weight, weight])
    total = carried.new_zeros(channels + 1, (height + 2) * wide)
    for dy, share_y in ((0, 1 - low), (1, low)):
        for dx, share_x in ((0, 1 - right), (1, right)):
            target = ((row + dy).clamp(0, height + 1) * wide + (column + dx).clamp(0, width + 1)).view(-1)
            parts = (carried * (share_x * share_y)).view(channels + 1, -1)
            for c in range(channels + 1):
                total[c] += torch.bincount(target, parts[c], minlength=total.shape[1])
    total = total.view(channels + 1, height + 2, wide)[:, 1:-1, 1:-1]
    arrived = total[channels:]
    return total[:channels] / arrived.clamp(min=1e-12), arrived
