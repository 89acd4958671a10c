"""Peak signal-to-noise ratio."""

from __future__ import annotations

import math

import torch

Window = tuple[slice, slice]
"""Rows and columns of a frame that count."""


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


def inner(height: int, width: int, crop: int) -> Window:
    """The frame without ``crop`` pixels on every side."""
    return slice(crop, height - crop), slice(crop, width - crop)


def mean_squared_error(error: torch.Tensor, channels: int, window: Window | None = None) -> list[float]:
    """Mean squared error of every frame from its map of squared errors.

    Args:
        error: ``(T, H, W)`` from ``squared_error``, on the 0 … 255 scale.
        channels: how many samples each entry sums.
        window: what counts of the frame; ``None`` for all.
    """
    rows, columns = window or (slice(None), slice(None))
    counted = error[:, rows, columns]
    # rows first: each row is summed by one thread, so the thread count cannot move the last bit
    return [math.fsum(frame.sum(1).tolist()) / (frame.numel() * channels) for frame in counted]


def psnr_from_mse(mse: float, floor: float = 0.0) -> float:
    """PSNR of one mean squared error on the 0 … 255 scale.

    Args:
        mse: the error.
        floor: added to the error on the [0, 1] scale: pyiqa's 1e-8 makes identical frames 80 dB.

    Returns:
        dB, higher is better; infinite for identical frames without ``floor``.
    """
    return 10 * math.log10(255**2 / (mse + floor * 255**2)) if mse or floor else math.inf


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
    error = squared_error(pred, gt)
    errors = mean_squared_error(error, int(pred.shape[1]), inner(int(pred.shape[2]), int(pred.shape[3]), crop))
    return [psnr_from_mse(mse) for mse in errors]
