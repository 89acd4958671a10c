"""Resizing that equals MATLAB's ``imresize`` to the bit on 8-bit frames."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

import numpy as np
import torch

from stvsr_bench.core.errors import ConfigError, DataError
from stvsr_bench.degradation.banded import TIE, Banded, banded, rows_first, to_bytes
from stvsr_bench.degradation.kernels import check_kernel, weight_matrix

Scale = Fraction | int | float

# Weights that are multiples of 2^-14 give sums of 8-bit samples that float32 holds exactly (|sum| < 2^9, 23 bits).
_FLOAT32_UNIT = 2.0**14
_LARGEST_SUM = 2.0**9
_MAX_DENOMINATOR = 512


def output_size(size: tuple[int, int], scale: Scale) -> tuple[int, int]:
    """Return MATLAB's size of an image of ``size`` rows and columns after scaling: ceil(side · scale).

    >>> output_size((576, 720), Fraction(1, 4)), output_size((131, 173), Fraction(1, 2))
    ((144, 180), (66, 87))
    """
    factor = _fraction(scale)
    return math.ceil(size[0] * factor), math.ceil(size[1] * factor)


def imresize(
    frames: torch.Tensor,
    scale: Scale | None = None,
    *,
    output_size: tuple[int, int] | None = None,
    kernel: str = "bicubic",
    antialias: bool = True,
    rounding: Literal["matlab_uint8", "once"] = "matlab_uint8",
) -> torch.Tensor:
    """Resize 8-bit frames as MATLAB does.

    The result is the same to the bit for any batch size, number of threads and device: products are exact where the
    weights are binary fractions (bicubic and bilinear at scales 2, 4, 1/2, 1/4, …), and elsewhere ties are told from
    round-off: weights of a small common denominator (bicubic and bilinear at 3, 1/3, …) give sums that lie far apart.

    Shapes: uint8 ``(T, C, H, W)`` → uint8 ``(T, C, H', W')``, on the device of ``frames``.

    Args:
        frames: 8-bit frames.
        scale: output over input size; the new sides are ceil(side · scale). A float stands for the nearest fraction of
            small denominator.
        output_size: rows and columns wanted, instead of ``scale``.
        kernel: ``nearest``, ``box``, ``bilinear``, ``bicubic`` (a = -0.5), ``lanczos2`` or ``lanczos3``.
        antialias: widen the kernel when shrinking (MATLAB's default).
        rounding: ``matlab_uint8`` rounds and saturates after each of the two passes, as ``imresize`` does on uint8;
            ``once`` only at the end, as ``imresize(im2double(I))`` followed by ``imwrite`` does.

    Raises:
        ConfigError: the options are not valid.
        DataError: the tensor is not uint8 ``(T, C, H, W)``.

    Source: MATLAB ``imresize``; halves round away from zero, the dimension of the smaller scale first, rows on a tie.

    >>> imresize(torch.tensor([[[[0, 0, 255, 255]]]], dtype=torch.uint8), output_size=(1, 2), kernel="box")
    tensor([[[[  0, 255]]]], dtype=torch.uint8)
    """
    if frames.dtype != torch.uint8 or frames.ndim != 4:
        raise DataError(
            "imresize cannot resize this tensor",
            got=f"shape {tuple(frames.shape)}, {frames.dtype}",
            accepted="uint8 (T, C, H, W); imresize_float takes floating-point frames",
        )
    if rounding not in ("matlab_uint8", "once"):
        raise ConfigError("imresize: unknown rounding", got=repr(rounding), accepted="'matlab_uint8' or 'once'")
    passes = _plan(frames, scale, output_size, kernel, antialias)
    dtype, halves = _arithmetic(passes, rounding, frames.device)
    products = [p.product(dtype, frames.device) for p in passes]
    out = frames.new_empty((*frames.shape[:2], *_final_size(frames, passes)))
    for frame, target in zip(frames, out, strict=True):
        work = rows_first(frame, dtype)
        for number, (product, half) in enumerate(zip(products, halves, strict=True)):
            work = product.apply(work)
            last = number == len(passes) - 1
            if last or rounding == "matlab_uint8":
                work.add_(half).clamp_(0, 255.5)
                if not last:
                    work.floor_()
        target.copy_(to_bytes(work))
    return out


def imresize_float(
    frames: torch.Tensor,
    scale: Scale | None = None,
    *,
    output_size: tuple[int, int] | None = None,
    kernel: str = "bicubic",
    antialias: bool = True,
) -> torch.Tensor:
    """Resize floating-point frames as MATLAB does on doubles; nothing is rounded or clipped.

    Shapes: ``(T, C, H, W)`` → ``(T, C, H', W')``; the type is kept, the arithmetic is float64.

    Args and errors are those of ``imresize``.

    >>> imresize_float(torch.tensor([[[[0.0, 1.0]]]]), 2, kernel="bilinear")[0, 0, 0]
    tensor([0.0000, 0.2500, 0.7500, 1.0000])
    """
    if not frames.is_floating_point() or frames.ndim != 4:
        raise DataError(
            "imresize_float cannot resize this tensor",
            got=f"shape {tuple(frames.shape)}, {frames.dtype}",
            accepted="floating-point (T, C, H, W); imresize takes uint8 frames",
        )
    passes = _plan(frames, scale, output_size, kernel, antialias)
    out = frames.new_empty((*frames.shape[:2], *_final_size(frames, passes)))
    products = [p.product(torch.float64, frames.device) for p in passes]
    for frame, target in zip(frames, out, strict=True):
        work = rows_first(frame, torch.float64)
        for product in products:
            work = product.apply(work)
        target.copy_(work.permute(1, 0, 2))
    return out


@dataclass(frozen=True)
class _Pass:
    """Resizing of one dimension."""

    rows: bool
    length: int
    out_length: int
    scale: Fraction
    kernel: str
    antialias: bool

    @property
    def _key(self) -> tuple[int, int, Fraction, str, bool]:
        return self.length, self.out_length, self.scale, self.kernel, self.antialias

    def float32_half(self) -> float | None:
        """What to add to float32 sums so that cutting the fraction off rounds halves up as on exact sums.

        ``None`` where float32 cannot tell a tie from a sum just below it.
        """
        return _float32_half(*self._key)

    def product(self, dtype: torch.dtype, device: torch.device) -> Banded:
        return banded(weight_matrix, self._key, self.rows, dtype, device)


def _arithmetic(passes: list[_Pass], rounding: str, device: torch.device) -> tuple[torch.dtype, list[float]]:
    """The type to compute in and what each pass adds to round; float32 is twice as fast and not always exact."""
    if rounding == "matlab_uint8" and _float32_is_safe(device):
        halves = [half for p in passes if (half := p.float32_half()) is not None]
        if len(halves) == len(passes):
            return torch.float32, halves
    return torch.float64, [0.5 + TIE] * len(passes)


@lru_cache(maxsize=64)
def _float32_half(length: int, out_length: int, scale: Fraction, kernel: str, antialias: bool) -> float | None:
    matrix = weight_matrix(length, out_length, scale, kernel, antialias)
    scaled = matrix * _FLOAT32_UNIT
    if (scaled == np.rint(scaled)).all():
        return 0.5
    denominator = _common_denominator(matrix)
    if denominator is None:
        return None
    # Exact sums are multiples of 1/denominator, so those below a tie are 1/(2 denominator) below it at least. Half of
    # that on top of 0.5 tells them from ties as long as round-off is smaller: each term is rounded once as a weight,
    # once as a product and in every sum but one, and the sum twice when the offset is added.
    taps = int(np.count_nonzero(matrix, axis=1).max())
    round_off = (taps + 3) * 2.0**-24 * _LARGEST_SUM
    return 0.5 + 0.25 / denominator if round_off < 0.125 / denominator else None


def _common_denominator(matrix: np.ndarray) -> int | None:
    """The least number that makes every weight whole, ``None`` where there is none up to ``_MAX_DENOMINATOR``."""
    common = 1
    for weight in np.unique(matrix.round(14)):
        near = Fraction(float(weight)).limit_denominator(_MAX_DENOMINATOR)
        common = math.lcm(common, near.denominator)
        if common > _MAX_DENOMINATOR or abs(float(near) - weight) > 1e-12:
            return None
    return common


def _plan(
    frames: torch.Tensor, scale: Scale | None, size: tuple[int, int] | None, kernel: str, antialias: bool
) -> list[_Pass]:
    """The passes in MATLAB's order: the smaller scale first, rows on a tie; a dimension that stays has none."""
    check_kernel(kernel)
    if (scale is None) == (size is None):
        raise ConfigError("imresize: give either scale or output_size", got=f"scale={scale}, output_size={size}")
    sides = int(frames.shape[2]), int(frames.shape[3])
    if 0 in frames.shape[1:]:
        raise DataError("imresize cannot resize an empty image", got=f"shape {tuple(frames.shape)}")
    if size is None:
        factor = _fraction(scale if scale is not None else 1)
        factors, size = (factor, factor), output_size(sides, factor)
    else:
        if min(size) < 1:
            raise ConfigError("imresize: output_size must be positive", got=str(tuple(size)))
        factors = Fraction(size[0], sides[0]), Fraction(size[1], sides[1])
    passes = [
        _Pass(axis == 0, sides[axis], size[axis], factors[axis], kernel, antialias)
        for axis in sorted((0, 1), key=lambda axis: factors[axis])
    ]
    return [p for p in passes if p.scale != 1]


def _final_size(frames: torch.Tensor, passes: list[_Pass]) -> tuple[int, int]:
    sides = {True: int(frames.shape[2]), False: int(frames.shape[3])}
    sides |= {p.rows: p.out_length for p in passes}
    return sides[True], sides[False]


def _fraction(scale: Scale) -> Fraction:
    if isinstance(scale, float) and not math.isfinite(scale):
        raise ConfigError("imresize: scale must be a positive number", got=str(scale))
    factor = Fraction(scale).limit_denominator(1 << 20)
    if factor <= 0:
        raise ConfigError("imresize: scale must be a positive number", got=str(scale))
    return factor


def _float32_is_safe(device: torch.device) -> bool:
    """Whether float32 products are carried out in float32; torch can be told to take bfloat16 or TF32 instead."""
    return device.type == "cpu" and torch.backends.mkldnn.matmul.fp32_precision in ("none", "ieee")  # type: ignore[attr-defined]
