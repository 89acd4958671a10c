"""What stays of a frame when the next one is warped onto it: warping errors, and where they cannot be told."""

from __future__ import annotations

import math
from functools import cache, lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from stvsr_bench.nn.raft import pad_to_eight
from stvsr_bench.nn.warp import flow_warp


def occluded(forward: torch.Tensor, backward: torch.Tensor) -> torch.Tensor:
    """Say which pixels of the first frame are hidden in the second, or lie on a motion boundary.

    Hidden: |b + f|² > 0.01 (|b|² + |f|²) + 0.5, where b is ``backward`` warped by ``forward`` f. Boundary: the sum of
    the squared forward differences of f, 0 in the last row and column, > 0.01 |f|² + 0.002.

    Shapes: both ``(1, 2, H, W)`` pixels, from the first frame to the second and back → bool ``(H, W)``.
    Source: Lai et al. 2018 (arXiv:1808.00449), ``detect_occlusion(bw, fw)`` of its ``evaluate_WarpError.py``, after
    Ruder et al. 2016 (arXiv:1604.08610), equations 5 and 6.
    """
    back = flow_warp(backward, forward)[0]
    size = _squared(forward[0])
    hidden = _squared(back + forward[0]) > 0.01 * (_squared(back) + size) + 0.5
    right = _squared(forward[0, :, :, 1:] - forward[0, :, :, :-1])
    down = _squared(forward[0, :, 1:] - forward[0, :, :-1])
    change = F.pad(right, (0, 1)) + F.pad(down, (0, 0, 0, 1))
    return hidden | (change > 0.01 * size + 0.002)


def _squared(flow: torch.Tensor) -> torch.Tensor:
    """Squared length of every vector of ``(2, H, W)``."""
    return flow[0].square() + flow[1].square()


def warping_error(first: torch.Tensor, second: torch.Tensor, forward: torch.Tensor, hidden: torch.Tensor) -> float:
    """Squared error of ``second`` warped onto ``first``, summed over channels, as a mean over the pixels that count.

    Args:
        first: ``(1, 3, H, W)`` float.
        second: the next frame.
        forward: flow from ``first`` to ``second``, ``(1, 2, H, W)`` pixels; outside the frame its edge is taken.
        hidden: pixels of ``first`` that do not count, bool ``(H, W)``.

    Returns:
        The mean in squared units of the frames, lower is better; ``nan`` where no pixel counts.
    """
    error = (flow_warp(second, forward)[0] - first[0]).square_().sum(0)
    visible = ~hidden
    count = int(visible.sum())
    if not count:
        return math.nan
    # rows first: each row is summed by one thread, so the thread count cannot move the last bit
    return math.fsum((error * visible).double().sum(1).tolist()) / count


@cache
def _remap_is_exact() -> bool:
    """Whether this OpenCV interpolates at the very position; before version 5 it rounds to 1/32 of a pixel."""
    ramp = np.arange(4, dtype=np.float32)[None]
    at = np.full((1, 1), 1 + 1 / 64, np.float32)
    return bool(abs(cv2.remap(ramp, at, np.zeros_like(at), cv2.INTER_LINEAR)[0, 0] - at[0, 0]) < 1e-6)


@lru_cache(maxsize=8)
def _positions(height: int, width: int) -> np.ndarray:
    """Columns and rows ``(H, W, 2)``; shared, not to be written to."""
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)


def lai_error(first: torch.Tensor, second: torch.Tensor, forward: torch.Tensor, hidden: torch.Tensor) -> float:
    """Lai's warping error of a pair of frames, on the CPU.

    Args:
        first: uint8 ``(H, W, 3)``.
        second: the next frame.
        forward: flow from ``first`` to ``second``, float32 ``(H, W, 2)`` pixels; outside the frame its edge is taken.
        hidden: pixels of ``first`` that do not count, bool ``(H, W)``.

    Returns:
        Mean over the samples that count, in squared units of 0 … 1, lower is better; ``nan`` where none counts.

    Source: Lai et al. 2018 (arXiv:1808.00449), ``evaluate_WarpError.py``.
    """
    count = hidden.numel() - int(hidden.sum())
    if not count:
        return math.nan
    a, b = first.float(), second.float()
    if not _remap_is_exact():
        one, two = (frame.permute(2, 0, 1)[None] for frame in (a, b))
        return warping_error(one, two, forward.permute(2, 0, 1)[None], hidden) / (3 * 255**2)
    at = cv2.add(_positions(*hidden.shape), forward.numpy())
    warped = cv2.remap(b.numpy(), at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    visible = (~hidden).to(torch.uint8).numpy()
    return float(cv2.norm(warped, a.numpy(), cv2.NORM_L2SQR, visible)) / (3 * 255**2 * count)


def halved(frame: torch.Tensor) -> torch.Tensor:
    """Halve a frame as E* does: bilinear without antialiasing by the factor 0.5 itself, odd sizes rounded down, then
    extended to multiples of 8 as RAFT needs it.

    Shapes: ``(1, 3, H, W)`` float → ``(1, 3, h, w)``.

    >>> halved(torch.zeros(1, 3, 131, 173)).shape
    torch.Size([1, 3, 72, 88])
    """
    return pad_to_eight(F.interpolate(frame, scale_factor=0.5, mode="bilinear", align_corners=False))[0]
