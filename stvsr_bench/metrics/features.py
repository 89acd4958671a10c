"""Features that several metrics ask for, each computed once for a frame or pair whichever metric comes first."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from stvsr_bench.metrics.batch import FrameBatch, OneSide

FARNEBACK = (0.5, 3, 15, 3, 5, 1.2, 0)
"""pyr_scale, levels, winsize, iterations, poly_n, poly_sigma, flags: what TecoGAN, XVFI and BF-STVSR share."""


def gray_u8(batch: FrameBatch, side: OneSide) -> torch.Tensor:
    """OpenCV's gray of 8-bit RGB, rounded, uint8 ``(T, H, W)`` on the CPU."""

    def make() -> torch.Tensor:
        frames = interleaved(batch, side).numpy()
        return torch.stack([torch.from_numpy(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY)) for f in frames])

    return batch.feature(side, "gray.u8", make)


def gray_float(batch: FrameBatch, side: OneSide) -> torch.Tensor:
    """OpenCV's gray of float RGB in 0 … 255, not rounded, float32 ``(T, H, W)`` on the CPU."""

    def make() -> torch.Tensor:
        frames = interleaved(batch, side).float().numpy()
        return torch.stack([torch.from_numpy(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY)) for f in frames])

    return batch.feature(side, "gray.float", make)


def interleaved(batch: FrameBatch, side: OneSide) -> torch.Tensor:
    """The frames as OpenCV takes them, uint8 RGB ``(T, H, W, 3)`` on the CPU."""
    return batch.feature(side, "interleaved.u8", lambda: batch.u8(side).cpu().permute(0, 2, 3, 1).contiguous())


def farneback(
    batch: FrameBatch, previous: FrameBatch | None, side: OneSide, *, backward: bool = False, rounded: bool = True
) -> torch.Tensor:
    """Farneback flow of the pairs (previous, first), (first, second), … of one side.

    Args:
        batch: the frames.
        previous: the frame before them as a batch of one, or ``None``.
        side: whose flow.
        backward: from the second frame of a pair to the first, instead of the other way.
        rounded: from the rounded 8-bit gray (TecoGAN), not from the float gray (XVFI, BF-STVSR).

    Returns:
        float32 ``(P, H, W, 2)`` of (dx, dy) in pixels, on the CPU.
    """
    key = f"farneback.{'u8' if rounded else 'float'}.{'backward' if backward else 'forward'}@1"
    return batch.pair_maps(
        previous,
        side,
        key,
        lambda chosen: [farneback_of(batch, previous, side, chosen, backward=backward, rounded=rounded)],
        device="cpu",
    )[0]


def farneback_of(
    batch: FrameBatch,
    previous: FrameBatch | None,
    side: OneSide,
    chosen: Sequence[int],
    *,
    backward: bool = False,
    rounded: bool = True,
) -> torch.Tensor:
    """Compute the flow of some of the pairs, neither shared nor stored; see :func:`farneback`."""
    gray = gray_u8 if rounded else gray_float
    frames = batch.joined(previous, lambda part: gray(part, side)).numpy()
    flows = []
    for pair in chosen:
        first, second = (pair + 1, pair) if backward else (pair, pair + 1)
        flows.append(flow_between(frames[first], frames[second]))
    return torch.stack(flows) if flows else torch.zeros(0, batch.height, batch.width, 2)


def flow_between(first: np.ndarray, second: np.ndarray) -> torch.Tensor:
    """Farneback flow of two gray frames ``(H, W)``, float32 ``(H, W, 2)`` of (dx, dy) in pixels."""
    return torch.from_numpy(cv2.calcOpticalFlowFarneback(first, second, None, *FARNEBACK))
