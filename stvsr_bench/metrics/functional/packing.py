"""Feature maps after a ReLU without their zeros, exact to the last bit."""

from __future__ import annotations

import numpy as np
import torch


def pack(features: torch.Tensor) -> list[torch.Tensor]:
    """Where a map is not zero, and its values there.

    Shapes: ``(1, C, h, w)`` → uint8 ``(1, ceil(C·h·w / 8))``, one bit for each sample with channels last, and
    ``(1, n)``.
    """
    flat = features[0].permute(1, 2, 0).reshape(-1).cpu().numpy()
    there = flat != 0
    return [torch.from_numpy(np.packbits(there))[None], torch.from_numpy(flat[there])[None]]


def unpack(bits: torch.Tensor, values: torch.Tensor, shape: tuple[int, int, int]) -> torch.Tensor:
    """The map ``(1, C, h, w)`` of :func:`pack`, channels last in memory, on the device of ``values``.

    Args:
        bits: where it is not zero.
        values: what stands there.
        shape: ``(C, h, w)``.
    """
    channels, height, width = shape
    count = channels * height * width
    there = np.unpackbits(bits[0].cpu().numpy(), count=count).view(bool)
    flat = np.zeros(count, dtype=np.float32)
    flat[there] = values[0].cpu().numpy()
    return torch.from_numpy(flat).view(1, height, width, channels).permute(0, 3, 1, 2).to(values.device)
