"""RAFT: optical flow by recurrent updates; torchvision's network, with its own or the authors' parameters."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.optical_flow import raft_large  # type: ignore[import-untyped]

MINIMUM = 128
"""Shortest side that the network takes: its correlation pyramid halves an eighth of it three times."""


def empty_raft() -> nn.Module:
    """Return RAFT (large, 5.3 M parameters) with whatever parameters it starts with.

    Source: Teed and Deng 2020 (arXiv:2003.12039).
    """
    network: nn.Module = raft_large(weights=None, progress=False)
    return network


def raft_flow(network: nn.Module, first: Tensor, second: Tensor, updates: int) -> Tensor:
    """Flow from ``first`` to ``second`` in pixels.

    Args:
        network: with its parameters loaded.
        first: ``(1, 3, H, W)`` float32 RGB in [-1, 1]; sides are multiples of 8 and at least 128.
        second: likewise.
        updates: how often the flow is updated.
    """
    flows = network(first, second, num_flow_updates=updates)
    return cast(Tensor, flows[-1])


def pad_to_eight(frame: Tensor) -> tuple[Tensor, tuple[slice, slice]]:
    """Extend ``(1, 3, H, W)`` by its edge to sides that are multiples of 8, the smaller half left and above.

    Returns:
        The extended frame, and the rows and columns of it that are the frame.

    Source: the padding for Sintel of the authors' code.

    >>> import torch
    >>> pad_to_eight(torch.zeros(1, 3, 65, 88))[1]
    (slice(3, 68, None), slice(0, 88, None))
    """
    height, width = frame.shape[-2:]
    down, across = -height % 8, -width % 8
    top, left = down // 2, across // 2
    padded = F.pad(frame, (left, across - left, top, down - top), mode="replicate")
    return padded, (slice(top, top + height), slice(left, left + width))
