"""Peak signal-to-noise ratio."""

from __future__ import annotations

import math

import torch


def squared_error(pred: torch.Tensor, gt: torch.Tensor) -> torch.Tensor:
    """Squared error of every sample, summed over channels.

    Exact for integer samples. Frames with several crops or readings share this map.

    Shapes: both ``(T, C, H, W)`` → ``(T, H, W)`` float64.
    Range & units: samples in 0 … 255, any integer or floating type.
    """
    # float32 holds squares of 8-bit differences and their sum over channels exactly
    dtype = torch.float32 if pred.dtype == gt.dtype == torch.uint8 else torch.float64
    errors = [(p.to(dtype) - g.to(dtype)).square_().sum(0) for p, g in zip(pred, gt, strict=True)]
    return torch.stack(errors).double()


def psnr_from_error(error: torch.Tensor, channels: int, crop: int = 0) -> list[float]:
    """PSNR of every frame from its map of squared errors.

    Args:
        error: ``(T, H, W)`` from ``squared_error``, on the 0 … 255 scale.
        channels: how many samples each entry sums.
        crop: pixels cut off every side.

    Returns:
        dB, higher is better; infinite for identical frames.
    """
    height, width = error.shape[1] - 2 * crop, error.shape[2] - 2 * crop
    inner = error[:, crop : crop + height, crop : crop + width]
    # rows first: each row is summed by one thread, so the thread count cannot move the last bit
    sums = [math.fsum(frame.sum(1).tolist()) for frame in inner]
    return [10 * math.log10(255**2 * height * width * channels / s) if s else math.inf for s in sums]


def psnr(pred: torch.Tensor, gt: torch.Tensor, *, crop: int = 0) -> list[float]:
    """PSNR of every frame: 10 log10(255² / MSE), one MSE over all channels.

    Shapes: both ``(T, C, H, W)``.
    Range & units: samples in 0 … 255.
    Returns: dB, higher is better; infinite for identical frames (nothing is added to the MSE).
    Source: BasicSR ``calculate_psnr``; the sums are exact here.

    >>> gt = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    >>> [round(v, 4) for v in psnr(gt + 5, gt)]
    [34.1514]
    """
    return psnr_from_error(squared_error(pred, gt), int(pred.shape[1]), crop)
