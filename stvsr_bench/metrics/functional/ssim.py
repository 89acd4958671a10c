"""Structural similarity."""

from __future__ import annotations

import math

import torch

from stvsr_bench.metrics.functional.window import gaussian_valid

C1 = (0.01 * 255) ** 2
C2 = (0.03 * 255) ** 2


def ssim_map(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """SSIM at every position where the 11×11 Gaussian window (sigma 1.5) lies inside the frame.

    Written with the sum u and the difference v of the two frames:
    (1 - μv² / (μx² + μy² + C1)) · (1 - var v / (var x + var y + C2)). This equals the usual quotient, gives exactly 1
    for identical frames, is exactly symmetric, and does not lose digits where the frames are close.

    Shapes: both ``(H, W)`` → ``(H - 10, W - 10)`` float64.
    Range & units: samples in 0 … 255; C1 = (0.01·255)², C2 = (0.03·255)².
    Returns: -1 … 1, higher is better.
    """
    x, y = x.double(), y.double()
    u, v = x + y, x - y
    mean_u, mean_v = gaussian_valid(u).square(), gaussian_valid(v).square()
    var_u = gaussian_valid(u.square_()).sub_(mean_u)
    var_v = gaussian_valid(v.square_()).sub_(mean_v)
    # μx² + μy² = (μu² + μv²) / 2, and likewise for the variances
    luminance = mean_v / mean_u.add_(mean_v).div_(2).add_(C1)
    structure = var_v / var_u.add_(var_v).div_(2).add_(C2)
    return luminance.neg_().add_(1).mul_(structure.neg_().add_(1))


def ssim_maps(pred: torch.Tensor, gt: torch.Tensor) -> torch.Tensor:
    """``ssim_map`` of every channel of every frame: ``(T, C, H, W)`` twice → ``(T, C, H - 10, W - 10)``."""
    return torch.stack(
        [torch.stack([ssim_map(a, b) for a, b in zip(p, g, strict=True)]) for p, g in zip(pred, gt, strict=True)]
    )


def ssim_from_maps(maps: torch.Tensor, crop: int = 0) -> list[float]:
    """SSIM of every frame from its maps.

    The maps of the cropped frames are the inner part of the maps of the whole ones, because every window is complete.

    Args:
        maps: ``(T, C, H, W)`` from ``ssim_maps``.
        crop: pixels cut off every side of the frames.
    """
    height, width = maps.shape[2] - 2 * crop, maps.shape[3] - 2 * crop
    inner = maps[:, :, crop : crop + height, crop : crop + width]
    # rows first: each row is summed by one thread, so the thread count cannot move the last bit
    return [math.fsum(m.sum(2).flatten().tolist()) / m.numel() for m in inner]


def ssim(pred: torch.Tensor, gt: torch.Tensor, *, crop: int = 0) -> list[float]:
    """SSIM of every frame, the mean over positions and channels.

    Shapes: both ``(T, C, H, W)``, sides of at least 11 + 2·crop.
    Range & units: samples in 0 … 255.
    Returns: -1 … 1, higher is better.
    Source: Wang et al. 2004; BasicSR ``calculate_ssim``: 11×11 Gaussian window, sigma 1.5, valid part, population
    moments, contrast-structure term not clipped, no downsampling.

    >>> gt = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    >>> [round(v, 6) for v in ssim(gt, gt)], [round(v, 6) for v in ssim(gt.flip(3), gt)]
    ([1.0], [0.992181])
    """
    return ssim_from_maps(ssim_maps(pred, gt), crop)
