"""VBench temporal flickering."""

from __future__ import annotations

import torch


def flickering(first: torch.Tensor, second: torch.Tensor) -> list[float]:
    """Stillness of every pair of frames: (255 - mean |second - first|) / 255.

    Shapes: both ``(T, C, H, W)`` uint8.
    Returns: 0 … 1, higher is better; 1 for identical frames.
    Source: VBench ``temporal_flickering.py``, which averages pairs first; the mean is the same. Sums are exact here.

    >>> frame = torch.full((1, 3, 4, 4), 100, dtype=torch.uint8)
    >>> flickering(frame, frame + 51)
    [0.8]
    """
    # max - min is |a - b| without leaving uint8
    return [
        (255 - int((torch.maximum(a, b) - torch.minimum(a, b)).sum(dtype=torch.int64)) / a.numel()) / 255
        for a, b in zip(first, second, strict=True)
    ]
