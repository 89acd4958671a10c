"""Padding frames to what a network accepts: mirrored at the right and bottom, the last frame repeated at the end."""

from __future__ import annotations

import torch


def padded_length(length: int, multiple: int = 1, offset: int = 0, minimum: int = 1) -> int:
    """The smallest accepted length ``multiple·k + offset`` that is at least ``length`` and ``minimum``.

    >>> padded_length(10, multiple=8, offset=1), padded_length(9, multiple=8, offset=1)
    (17, 9)
    """
    length = max(length, minimum)
    return length + (offset - length) % multiple


def mirror_index(length: int, target: int) -> torch.Tensor:
    """Indices that extend ``length`` samples to ``target``: mirrored without repeating the edge, then held.

    >>> mirror_index(3, 7).tolist()
    [0, 1, 2, 1, 0, 0, 0]
    """
    index = torch.arange(target)
    return torch.where(index < length, index, (2 * (length - 1) - index).clamp(min=0))


def pad_frames(frames: torch.Tensor, height: int, width: int, count: int | None = None) -> torch.Tensor:
    """Extend ``(T, C, h, w)`` of any type to ``(count, C, height, width)``; the content keeps its corner."""
    h, w = frames.shape[-2:]
    if height != h:
        frames = frames.index_select(-2, mirror_index(h, height).to(frames.device))
    if width != w:
        frames = frames.index_select(-1, mirror_index(w, width).to(frames.device))
    if count is not None and count != len(frames):
        frames = torch.cat([frames, frames[-1:].expand(count - len(frames), -1, -1, -1)])
    return frames
