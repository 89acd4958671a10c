"""Products of a frame with a banded matrix along its rows or columns, and the way back to 8 bits.

A frame is stored as ``(H, C, W)`` here, in which both directions are plain matrix products.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

Array = np.ndarray[Any, np.dtype[Any]]

TIE = 2.0**-30
"""Double-precision sums of 8-bit samples are off by 1e-12 at most, in either direction. A true tie must round up on
every machine, so whatever lies this little below one counts as a tie."""


@dataclass(frozen=True)
class Banded:
    """A matrix of which every row has few neighbouring entries, cut into blocks of rows.

    Attributes:
        length: outputs, the rows of the matrix.
        rows: whether ``apply`` replaces the rows of frames, else their columns.
        blocks: first output, first input and weights ``(outputs, inputs)`` of each block.
    """

    length: int
    rows: bool
    blocks: tuple[tuple[int, int, torch.Tensor], ...]

    def apply(self, work: torch.Tensor) -> torch.Tensor:
        """Return the product with a frame: ``(H, C, W)`` → ``(length, C, W)`` or ``(H, C, length)``."""
        height, channels, width = work.shape
        if self.rows:
            flat = work.reshape(height, channels * width)
            out = flat.new_empty((self.length, channels * width))
            for start, first, weights in self.blocks:
                torch.mm(weights, flat[first : first + weights.shape[1]], out=out[start : start + len(weights)])
            return out.view(self.length, channels, width)
        flat = work.reshape(height * channels, width)
        out = flat.new_empty((height * channels, self.length))
        for start, first, weights in self.blocks:
            torch.mm(flat[:, first : first + weights.shape[1]], weights.T, out=out[:, start : start + len(weights)])
        return out.view(height, channels, self.length)


@lru_cache(maxsize=64)
def banded(
    matrix: Callable[..., Array],
    arguments: tuple[Any, ...],
    rows: bool,
    dtype: torch.dtype,
    device: torch.device,
) -> Banded:
    """Return the matrix that ``matrix(*arguments)`` makes, cut for one direction, type and device.

    Args:
        matrix: returns float64 ``(outputs, inputs)``; together with ``arguments`` it is the key under which the result
            is kept.
        arguments: of ``matrix``, hashable.
        rows: as in ``Banded``.
        dtype: of the frames.
        device: of the frames.
    """
    dense = matrix(*arguments)
    size = _block_size(dense.shape, rows, dtype, device)
    blocks = []
    for start in range(0, len(dense), size):
        part = dense[start : start + size]
        used = np.flatnonzero(part.any(0))
        first, stop = int(used[0]), int(used[-1]) + 1
        weights = torch.from_numpy(np.ascontiguousarray(part[:, first:stop]))
        blocks.append((start, first, weights.to(device=device, dtype=dtype)))
    return Banded(len(dense), rows, tuple(blocks))


def _block_size(shape: tuple[int, ...], rows: bool, dtype: torch.dtype, device: torch.device) -> int:
    """How many outputs to compute at once: measured on a CPU; all of them where launches are dear.

    A small block wastes little on zeros, a large one suits the product's kernels.
    """
    outputs, inputs = shape
    if device.type != "cpu":
        return outputs
    if rows:
        return 8 if outputs <= inputs else 24 if dtype == torch.float32 else 16
    if dtype == torch.float32:
        return 16 if outputs <= 2 * inputs else 32
    return 12 if outputs <= inputs else 48


def rows_first(frame: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """``(C, H, W)`` as a contiguous ``(H, C, W)`` of type ``dtype``."""
    channels, height, width = frame.shape
    return torch.empty((height, channels, width), dtype=dtype, device=frame.device).copy_(frame.permute(1, 0, 2))


def to_bytes(work: torch.Tensor) -> torch.Tensor:
    """Cut the fractions of ``(H, C, W)`` in 0 … 255.5 off and return uint8 ``(C, H, W)`` (a view)."""
    # torch converts to int16 with vector instructions and to uint8 without: five times as fast by way of int16
    return work.to(torch.int16).to(torch.uint8).permute(1, 0, 2)
