"""Natural image quality evaluator (NIQE): distance of a frame's statistics from those of natural images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

import cv2
import torch

from stvsr_bench.degradation.imresize import imresize_float

Form = Literal["pyiqa", "basicsr"]
"""Where codes that print NIQE round, which decides what noise flat areas hold:

- ``pyiqa``: everything is float64, but the window is rounded to float32, so that its sum is 1 + 1.1e-8 and every flat
  area lies a little below its own mean;
- ``basicsr``: the samples and all results are float32, so that a flat area equals its mean.
"""

BLOCK = 96
"""Side of the blocks at full size."""
SHAPES = (0.2, 10.0, 0.001)
"""First, last and step of the shapes that are tried for a distribution."""
_SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))


@dataclass(frozen=True)
class Pristine:
    """The model of natural images: mean ``(36,)`` and covariance ``(36, 36)`` of the features, and the 7×7 window."""

    mean: torch.Tensor
    covariance: torch.Tensor
    window: torch.Tensor


def niqe(y: torch.Tensor, pristine: Pristine, form: Form) -> torch.Tensor:
    """NIQE of one frame.

    Shapes: float64 ``(H, W)`` → float64 scalar.
    Range & units: integer samples in 0 … 255; at least 96×192 pixels, what does not fill a block of 96×96 at the right
    and below is left out.
    Returns: lower is better; NaN where fewer than two blocks hold any structure.
    Source: Mittal et al. 2013 (doi:10.1109/LSP.2012.2227726) without its choice of sharp blocks, as pyiqa 0.1.16 and
    BasicSR 1.4.2 compute it; the rounding of either is kept (``form``).

    Args:
        y: the frame's luma.
        pristine: the model, on the device of ``y``.
        form: whose rounding.
    """
    height, width = (side // BLOCK * BLOCK for side in y.shape)
    image = y[:height, :width]
    if form == "basicsr":
        image = image.float()
    half = imresize_float((image / 255)[None, None], Fraction(1, 2))[0, 0] * 255
    features = torch.cat(
        [
            _features(normalise(part, pristine.window, form), side)
            for part, side in ((image, BLOCK), (half, BLOCK // 2))
        ],
        dim=1,
    )
    return _distance(features, pristine)


def normalise(image: torch.Tensor, window: torch.Tensor, form: Form) -> torch.Tensor:
    """Subtract from every sample the mean around it and divide by the deviation there plus one; border repeated."""
    weights = window.float().double() if form == "pyiqa" else window
    mean = _filter(image, weights)
    deviation = (_filter(image.square(), weights) - mean.square()).abs().sqrt()
    return (image - mean) / (deviation + 1)


def _filter(image: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Sums in float64, given back in the image's type."""
    if image.device.type == "cpu":
        samples = image.double().contiguous().numpy()
        filtered = cv2.filter2D(samples, cv2.CV_64F, weights.numpy(), borderType=cv2.BORDER_REPLICATE)
        return torch.from_numpy(filtered).to(image.dtype)
    pad = weights.shape[0] // 2
    padded = torch.nn.functional.pad(image.double()[None, None], (pad,) * 4, mode="replicate")
    return torch.nn.functional.conv2d(padded, weights[None, None])[0, 0].to(image.dtype)


def _features(image: torch.Tensor, side: int) -> torch.Tensor:
    """The 18 features of every block, ``(blocks, 18)`` float64."""
    height, width = image.shape
    blocks = image.reshape(height // side, side, width // side, side).transpose(1, 2).reshape(-1, side, side).double()
    shape, left, right, _ = fit(blocks.flatten(1))
    columns = [shape, (left + right) / 2]
    for shift in _SHIFTS:
        products = blocks * blocks.roll(shift, (1, 2))  # around the block's own border
        shape, left, right, spread = fit(products.flatten(1))
        columns += [shape, (right - left) * spread, left, right]
    return torch.stack(columns, dim=1)


@lru_cache(maxsize=4)
def _table(device: torch.device) -> tuple[torch.Tensor, ...]:
    """By shape a: a, Γ(2/a)² / (Γ(1/a) Γ(3/a)), √(Γ(1/a) / Γ(3/a)), Γ(2/a) / Γ(1/a)."""
    first, last, step = SHAPES
    shapes = [first + step * i for i in range(round((last - first) / step) + 1)]
    gammas = [tuple(math.gamma(k / a) for k in (1, 2, 3)) for a in shapes]
    columns = (
        shapes,
        [g2 * g2 / (g1 * g3) for g1, g2, g3 in gammas],
        [math.sqrt(g1 / g3) for g1, _, g3 in gammas],
        [g2 / g1 for g1, g2, _ in gammas],
    )
    return tuple(torch.tensor(column, dtype=torch.float64, device=device) for column in columns)


def fit(samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Fit an asymmetric generalised Gaussian to every row by its moments.

    Shapes: ``(N, n)`` float64 → four of ``(N,)``.
    Returns: shape, left scale, right scale, Γ(2/shape) / Γ(1/shape); NaN for a row that lacks either sign.
    """
    shapes, ratios, scales, spreads = _table(samples.device)
    squares = samples.square()
    sides = []
    for chosen in (samples < 0, samples > 0):
        sides.append(((squares * chosen).sum(1) / chosen.sum(1)).sqrt())
    left, right = sides
    quotient = left / right
    ratio = samples.abs().mean(1).square() / squares.mean(1)
    ratio = ratio * (quotient**3 + 1) * (quotient + 1) / (quotient.square() + 1).square()
    place = (ratios - ratio[:, None]).abs().argmin(1)  # the first one where the ratio is NaN
    unknown = torch.where(ratio.isfinite(), 1.0, torch.nan)
    return shapes[place] * unknown, left * scales[place] * unknown, right * scales[place] * unknown, spreads[place]


def _distance(features: torch.Tensor, pristine: Pristine) -> torch.Tensor:
    """Mahalanobis-like distance of the blocks' features ``(blocks, 36)`` from the model.

    The mean leaves out single NaN features, the covariance every block that has one.
    """
    whole = features.isfinite().all(1)
    count = whole.sum()
    rows = torch.where(whole[:, None], features, 0)
    centred = torch.where(whole[:, None], features - rows.sum(0) / count, 0)
    covariance = centred.T @ centred / (count - 1)
    known = (count > 1) & features.isfinite().any(0).all()
    difference = torch.where(known, pristine.mean - features.nanmean(0), 0)
    both = torch.where(known, (pristine.covariance + covariance) / 2, pristine.covariance)
    distance = (difference @ torch.linalg.pinv(both) @ difference).sqrt()
    return torch.where(known, distance, torch.nan)
