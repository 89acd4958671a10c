"""Learned perceptual image patch similarity (LPIPS), version 0.1: the arithmetic around its trunk."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch

SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)


def prepare(rgb: torch.Tensor) -> torch.Tensor:
    """Normalise float32 RGB in [0, 1] ``(T, 3, H, W)`` as LPIPS's trunks expect it."""
    shift, scale = (torch.tensor(v, device=rgb.device).view(1, 3, 1, 1) for v in (SHIFT, SCALE))
    return (2 * rgb - 1 - shift) / scale


def unit(features: torch.Tensor) -> torch.Tensor:
    """Scale every pixel's vector of a feature map ``(T, C, h, w)`` to length one; zero stays zero."""
    return features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)


def layer_distance(pred: torch.Tensor, gt: torch.Tensor, head: torch.Tensor) -> list[float]:
    """One layer's term for every frame: weighted squared difference, mean over space.

    Shapes: both unit maps ``(T, C, h, w)``, the head's weights ``(1, C, 1, 1)``.
    Returns: one value for each frame, 0 for equal maps, lower is better.
    """
    distance = torch.nn.functional.conv2d((pred - gt).square(), head)[:, 0].double()
    # rows first: each row is summed by one thread, so the thread count cannot move the last bit
    return [math.fsum(frame.sum(1).tolist()) / frame.numel() for frame in distance]


def lpips(
    pred: Iterable[torch.Tensor], gt: Iterable[torch.Tensor], heads: Sequence[torch.Tensor]
) -> list[tuple[float, ...]]:
    """The terms of every layer, for every frame; their sum is LPIPS.

    Args:
        pred: unit feature maps of the restored frames, from fine to coarse; taken one at a time.
        gt: those of the ground truth.
        heads: weights of the layers.

    Source: Zhang et al. 2018 (arXiv:1801.03924), package lpips 0.1.4; sums over space are float64 here.
    """
    layers = [layer_distance(p, g, head) for p, g, head in zip(pred, gt, heads, strict=True)]
    return list(zip(*layers, strict=True))
