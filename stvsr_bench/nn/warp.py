"""Backward warping of frames by pixel flow, pixel centres aligned."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


@lru_cache(maxsize=8)
def base_grid(height: int, width: int, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Pixel coordinates ``(1, 2, H, W)``: channel 0 is x (column), channel 1 is y (row), both from 0.

    The tensor is cached and shared: do not write into it.
    """
    y, x = torch.meshgrid(
        torch.arange(height, device=device, dtype=dtype), torch.arange(width, device=device, dtype=dtype), indexing="ij"
    )
    return torch.stack([x, y])[None]


def backward_warp(source: Tensor, flow: Tensor, *, mode: str = "bilinear", padding: str = "border") -> Tensor:
    """Sample ``source`` at ``position + flow``: ``out[:, :, y, x] = source[:, :, y + dy, x + dx]``.

    Args:
        source: ``(B, C, H, W)`` floating point.
        flow: ``(B, 2, H, W)`` in pixels, channel 0 is dx, channel 1 is dy.
        mode: ``bilinear`` or ``bicubic`` (a = -0.75).
        padding: outside the frame: ``border`` (nearest edge pixel) or ``zeros`` (each of the four taps that lies
            outside counts as 0 on its own).

    >>> backward_warp(torch.tensor([[[[0.0, 1.0, 2.0]]]]), torch.tensor([[[[0.5] * 3], [[0.0] * 3]]]))
    tensor([[[[0.5000, 1.5000, 2.0000]]]])
    """
    height, width = source.shape[-2:]
    return _sampled(source, base_grid(height, width, source.device, source.dtype) + flow, mode, padding)


def _sampled(source: Tensor, at: Tensor, mode: str, padding: str) -> Tensor:
    """``source`` at the pixel positions ``at`` ``(B, 2, H, W)``."""
    height, width = source.shape[-2:]
    # grid_sample counts from -1 to 1 over the outer edges of the corner pixels (align_corners=False)
    grid = torch.stack([(at[:, 0] * 2 + 1) / width - 1, (at[:, 1] * 2 + 1) / height - 1], dim=-1)
    return F.grid_sample(source, grid, mode=mode, padding_mode=padding, align_corners=False)


@lru_cache(maxsize=16)
def sampling_grid(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Pixel centres ``(1, H, W, 2)`` and the size of a pixel ``(2,)`` as `grid_sample` counts, corners not aligned.

    The tensors are float32, cached and shared: do not write into them.
    """
    sides = torch.tensor([width, height], dtype=torch.float64, device=device)
    centres = base_grid(height, width, device, torch.float64).permute(0, 2, 3, 1)
    return ((centres * 2 + 1) / sides - 1).float().contiguous(), (2 / sides).float()


def flow_warp(source: Tensor, flow: Tensor, *, padding: str = "border", cached: bool = True) -> Tensor:
    """Do what :func:`backward_warp` does, bilinearly, for networks: one pass over the flow, and safe in half precision.

    Positions and sampling are float32 whatever the dtype of ``source``: a half-precision grid is off by up to half a
    pixel in a wide frame.

    Args:
        source: ``(B, C, H, W)`` floating point; also the dtype of the result.
        flow: ``(B, 2, H, W)`` in pixels, channel 0 is dx, channel 1 is dy.
        padding: outside the frame: ``border`` (nearest edge pixel) or ``zeros``.
        cached: keep the grid of this frame size for the next call; ``False`` is the plain form, which computes
            everything anew and step by step.

    Returns:
        ``(B, C, H, W)`` in the dtype of ``source``.
    """
    height, width = source.shape[-2:]
    if not cached:
        at = base_grid.__wrapped__(height, width, source.device) + flow.float()
        return _sampled(source.float(), at, "bilinear", padding).to(source.dtype)
    centres, pixel = sampling_grid(height, width, source.device)
    grid = torch.addcmul(centres, flow.float().permute(0, 2, 3, 1), pixel)
    out = F.grid_sample(source.float(), grid, mode="bilinear", padding_mode=padding, align_corners=False)
    return out.to(source.dtype)


def inside(flow: Tensor) -> Tensor:
    """Say where ``position + flow`` lies within the frame, ``(B, 1, H, W)`` bool."""
    height, width = flow.shape[-2:]
    at = base_grid(height, width, flow.device, flow.dtype) + flow
    x, y = at[:, :1], at[:, 1:]
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
