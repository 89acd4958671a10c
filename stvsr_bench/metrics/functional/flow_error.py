"""Difference of two optical flows, as tOF takes it."""

from __future__ import annotations

import math

import torch

from stvsr_bench.metrics.functional.psnr import Window


def endpoint_error(first: torch.Tensor, second: torch.Tensor, window: Window | None = None) -> list[float]:
    """Mean over pixels of the Euclidean norm of the difference of two flows, for every pair of frames.

    Shapes: both ``(P, H, W, 2)`` in pixels.
    Returns: pixels, lower is better; 0 for equal flows.

    Args:
        first: flow of one clip.
        second: flow of the other.
        window: what counts of the frame; ``None`` for all.

    Source: Chu et al. 2020, TecoGAN (arXiv:1811.09393), tOF: its code takes the norm of the two components, although
    the paper writes an L1 norm.

    >>> endpoint_error(torch.zeros(1, 2, 2, 2), torch.tensor([3.0, 4.0]).expand(1, 2, 2, 2))
    [5.0]
    """
    rows, columns = window or (slice(None), slice(None))
    values = []
    for a, b in zip(first, second, strict=True):
        squared = (a[rows, columns] - b[rows, columns]).square_()
        length = (squared[..., 0] + squared[..., 1]).sqrt_()
        # rows first: each row is summed by one thread, so the thread count cannot move the last bit
        values.append(math.fsum(length.double().sum(1).tolist()) / length.numel())
    return values
