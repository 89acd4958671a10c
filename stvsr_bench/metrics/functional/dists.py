"""Deep image structure and texture similarity (DISTS): the arithmetic around its trunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
CONSTANT = 1e-6
"""Added above and below in both quotients."""
_BLOCK = 1 << 17
"""Samples of a map that are worked on at a time on a CPU, so that they stay in its cache."""


def prepare(rgb: torch.Tensor) -> torch.Tensor:
    """Normalise float32 RGB in [0, 1] ``(T, 3, H, W)`` as the trunk expects it, channels last in memory."""
    mean, deviation = (torch.tensor(v, device=rgb.device).view(1, 3, 1, 1) for v in (MEAN, DEVIATION))
    return ((rgb - mean) / deviation).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Moments:
    """Mean and population variance of every channel of a map, float64 ``(C,)``."""

    mean: torch.Tensor
    variance: torch.Tensor


def _blocks(*maps: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """The maps ``(1, C, h, w)`` as samples ``(pixels, C)``, some pixels at a time."""
    flat = [m[0].permute(1, 2, 0).reshape(-1, m.shape[1]) for m in maps]
    pixels, channels = flat[0].shape
    rows = max(1, _BLOCK // channels) if flat[0].device.type == "cpu" else pixels
    for start in range(0, pixels, rows):
        yield tuple(samples[start : start + rows] for samples in flat)


def moments(features: torch.Tensor) -> Moments:
    """The moments of a map ``(1, C, h, w)``."""
    count = features.shape[2] * features.shape[3]
    mean = sum_over(samples.sum(0) for (samples,) in _blocks(features)) / count
    centre = mean.to(features.dtype)
    squares = sum_over((samples - centre).square_().sum(0) for (samples,) in _blocks(features))
    # the centre is the mean rounded to the map's type
    return Moments(mean, squares / count - (mean - centre.double()).square())


def covariance(x: torch.Tensor, y: torch.Tensor, of_x: Moments, of_y: Moments) -> torch.Tensor:
    """Covariance of every channel of two maps ``(1, C, h, w)`` whose moments are known, float64 ``(C,)``."""
    count = x.shape[2] * x.shape[3]
    centre_x, centre_y = of_x.mean.to(x.dtype), of_y.mean.to(y.dtype)
    products = sum_over((a - centre_x).mul_(b - centre_y).sum(0) for a, b in _blocks(x, y))
    return products / count - (of_x.mean - centre_x.double()) * (of_y.mean - centre_y.double())


def sum_over(parts: Iterator[torch.Tensor]) -> torch.Tensor:
    """Sum in float64."""
    total = next(parts).double()
    for part in parts:
        total += part
    return total


def dissimilarity(
    of_x: Moments, of_y: Moments, both: torch.Tensor, alpha: torch.Tensor, beta: torch.Tensor
) -> torch.Tensor:
    """Weighted loss of texture and structure of one tap: Σ α (1 - S1) + β (1 - S2).

    Args:
        of_x: moments of the restored frame's map.
        of_y: those of the ground truth's.
        both: their covariance.
        alpha: weights of the means, float64 ``(C,)``.
        beta: weights of the structure.
    """
    texture = (2 * of_x.mean * of_y.mean + CONSTANT) / (of_x.mean.square() + of_y.mean.square() + CONSTANT)
    structure = (2 * both + CONSTANT) / (of_x.variance + of_y.variance + CONSTANT)
    return (alpha * (1 - texture)).sum() + (beta * (1 - structure)).sum()


def split_weights(
    alpha: torch.Tensor, beta: torch.Tensor, channels: Sequence[int]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """α and β of every tap, float64, divided by their joint sum.

    Args:
        alpha: published weights ``(1, sum of channels, 1, 1)``.
        beta: published weights ``(1, sum of channels, 1, 1)``.
        channels: of the taps.
    """
    total = alpha.double().sum() + beta.double().sum()
    parts = (torch.split(weights.double().flatten() / total, list(channels)) for weights in (alpha, beta))
    return list(zip(*parts, strict=True))
