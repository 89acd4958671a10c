"""Structural similarity."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import torch

from stvsr_bench.metrics.functional.window import gaussian_valid

C1 = (0.01 * 255) ** 2
C2 = (0.03 * 255) ** 2
UNIFORM = 7
"""Side of scikit-image's default window."""


def ssim_map(x: torch.Tensor, y: torch.Tensor, *, clip: bool = False) -> torch.Tensor:
    """SSIM at every position where the 11×11 Gaussian window (sigma 1.5) lies inside the frame.

    Written with the sum u and the difference v of the two frames:
    (1 - μv² / (μx² + μy² + C1)) · (1 - var v / (var x + var y + C2)). This equals the usual quotient, gives exactly 1
    for identical frames, is exactly symmetric, and does not lose digits where the frames are close.

    Shapes: both ``(H, W)`` → ``(H - 10, W - 10)`` float64.
    Range & units: samples in 0 … 255; C1 = (0.01·255)², C2 = (0.03·255)².

    Args:
        x: one frame's channel.
        y: the other frame's.
        clip: raise negative contrast-structure terms to 0, as pyiqa does.

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
    structure = structure.neg_().add_(1)
    if clip:
        structure.clamp_(min=0)
    return luminance.neg_().add_(1).mul_(structure)


def ssim_maps(pred: torch.Tensor, gt: torch.Tensor, *, clip: bool = False) -> torch.Tensor:
    """``ssim_map`` of every channel of every frame: ``(T, C, H, W)`` twice → ``(T, C, H - 10, W - 10)``."""
    return torch.stack(
        [
            torch.stack([ssim_map(a, b, clip=clip) for a, b in zip(p, g, strict=True)])
            for p, g in zip(pred, gt, strict=True)
        ]
    )


def uniform_ssim(pred: torch.Tensor, gt: torch.Tensor) -> float:
    """SSIM of one channel with scikit-image's default window: 7×7 uniform, sample covariance.

    The data range is the largest minus the smallest sample of the prediction, as where ``structural_similarity`` is
    given ``data_range=pred.max() - pred.min()`` (TecoGAN, XVFI). Where the prediction is constant, C1 and C2 are 0 and
    the value is NaN if a window of the ground truth is constant too.

    Shapes: both ``(H, W)`` floating point, sides of at least 7.
    Returns: -1 … 1, higher is better.
    """
    x, y = (np.ascontiguousarray(v.double().cpu().numpy()) for v in (pred, gt))
    span = float(x.max() - x.min())
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    mean_x, mean_y = _box(x), _box(y)
    sample = UNIFORM**2 / (UNIFORM**2 - 1)
    var_x, var_y = sample * (_box(x * x) - mean_x**2), sample * (_box(y * y) - mean_y**2)
    covariance = sample * (_box(x * y) - mean_x * mean_y)
    above = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    below = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return float((above / below).mean(dtype=np.float64))


def _box(image: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    half = UNIFORM // 2
    filtered = cv2.blur(image, (UNIFORM, UNIFORM))
    return np.asarray(filtered[half : image.shape[0] - half, half : image.shape[1] - half], dtype=np.float64)


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
