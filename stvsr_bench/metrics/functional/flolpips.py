"""FloLPIPS: LPIPS that counts most where the motion is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F


def motion_weights(difference: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """How much each place of a layer counts: the size of the flow's difference there, with the sum 1.

    Components are resized (bilinear, values as they are) before the size is taken. Where the flows do not differ at
    all, the reference divides 0 by 0; here every place counts the same then, so that identical clips get 0.

    Shapes: ``(1, 2, H, W)`` pixels → float64 ``(height, width)``.
    """
    small = F.interpolate(difference, (height, width), mode="bilinear", align_corners=False)[0].double()
    size = (small[0].square() + small[1].square()).sqrt_()
    total = math.fsum(size.sum(1).tolist())
    return size / total if total else torch.full_like(size, 1 / size.numel())


def flolpips(
    pred: Iterable[torch.Tensor],
    gt: Iterable[torch.Tensor],
    heads: Sequence[torch.Tensor],
    difference: torch.Tensor,
) -> float:
    """FloLPIPS of one frame.

    Args:
        pred: unit feature maps ``(1, C, h, w)`` of the restored frame, from fine to coarse.
        gt: those of the ground truth.
        heads: weights of the layers, ``(1, C, 1, 1)``.
        difference: flow of the ground truth less that of the restored frames, ``(1, 2, H, W)`` pixels.

    Returns:
        0 for identical frames, lower is better.

    Source: Danier et al. 2022 (arXiv:2207.08119): LPIPS v0.1 whose mean over space is weighted by the difference of
    the flows; sums are float64 here.
    """
    total = []
    for p, g, head in zip(pred, gt, heads, strict=True):
        distance = F.conv2d((p - g).square(), head)[0, 0].double()
        weights = motion_weights(difference, *distance.shape)
        # rows first: each row is summed by one thread, so the thread count cannot move the last bit
        total += (distance * weights).sum(1).tolist()
    return math.fsum(total)
