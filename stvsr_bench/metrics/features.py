"""Features that several metrics ask for, each computed once for a frame or pair whichever metric comes first."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from stvsr_bench.metrics.batch import FrameBatch, Maps, OneSide

FARNEBACK = (0.5, 3, 15, 3, 5, 1.2, 0)
"""pyr_scale, levels, winsize, iterations, poly_n, poly_sigma, flags: what TecoGAN, XVFI and BF-STVSR share."""


def gray_u8(batch: FrameBatch, side: OneSide) -> torch.Tensor:
    """OpenCV's gray of 8-bit RGB, rounded, uint8 ``(T, H, W)`` on the CPU."""

    def make() -> torch.Tensor:
        return torch.stack([torch.from_numpy(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY)) for f in _interleaved(batch, side)])

    return batch.feature(side, "gray.u8", make)


def gray_float(batch: FrameBatch, side: OneSide) -> torch.Tensor:
    """OpenCV's gray of float RGB in 0 … 255, not rounded, float32 ``(T, H, W)`` on the CPU."""

    def make() -> torch.Tensor:
        frames = (f.astype(np.float32) for f in _interleaved(batch, side))
        return torch.stack([torch.from_numpy(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY)) for f in frames])

    return batch.feature(side, "gray.float", make)


def _interleaved(batch: FrameBatch, side: OneSide) -> list[np.ndarray]:
    frames = batch.u8(side).cpu().permute(0, 2, 3, 1)
    return [np.ascontiguousarray(frame.numpy()) for frame in frames]


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
    gray = gray_u8 if rounded else gray_float

    def make(chosen: Sequence[int]) -> Maps:
        frames = batch.joined(previous, lambda part: gray(part, side)).numpy()
        flows = []
        for pair in chosen:
            first, second = (pair + 1, pair) if backward else (pair, pair + 1)
            flow = cv2.calcOpticalFlowFarneback(frames[first], frames[second], None, *FARNEBACK)
            flows.append(torch.from_numpy(flow))
        return [torch.stack(flows) if flows else torch.zeros(0, batch.height, batch.width, 2)]

    key = f"farneback.{'u8' if rounded else 'float'}.{'backward' if backward else 'forward'}@1"
    return batch.pair_maps(previous, side, key, make)[0]
