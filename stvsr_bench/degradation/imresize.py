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
from stvsr_bench.degradation.kernels import check_kernel, weight_matrix

Scale = Fraction | int | float

# Sums that are not exact are off by 1e-12 at most, in either direction. A true tie must round up on every machine, so
# whatever lies this little below one counts as a tie.
_TIE = 2.0**-30
# Weights that are multiples of 2^-14 give sums of 8-bit samples that float32 holds exactly (|sum| < 2^9, 23 bits).
_FLOAT32_UNIT = 2.0**14


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
    round-off.

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
    single = rounding == "matlab_uint8" and all(p.exact_in_float32 for p in passes) and _float32_is_safe(frames.device)
    dtype = torch.float32 if single else torch.float64
    out_height, out_width = _final_size(frames, passes)
    out = frames.new_empty((*frames.shape[:2], out_height, out_width))
    for frame, target in zip(frames, out, strict=True):
        work = _rows_first(frame, dtype)
        for number, step in enumerate(passes):
            work = step.apply(work)
            last = number == len(passes) - 1
            if last or rounding == "matlab_uint8":
                work.add_(0.5 if single else 0.5 + _TIE).clamp_(0, 255.5)
                if not last:
                    work.floor_()
        # the conversion cuts the fraction off, which is the floor of the last rounding
        target.copy_(work.to(torch.uint8).permute(1, 0, 2))
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
    for frame, target in zip(frames, out, strict=True):
        work = _rows_first(frame, torch.float64)
        for step in passes:
            work = step.apply(work)
        target.copy_(work.permute(1, 0, 2))
    return out


@dataclass(frozen=True)
class _Pass:
    """Resizing of one dimension of a frame that is stored as ``(H, C, W)``."""

    rows: bool
    length: int
    out_length: int
    scale: Fraction
    kernel: str
    antialias: bool

    @property
    def _key(self) -> tuple[int, int, Fraction, str, bool]:
        return self.length, self.out_length, self.scale, self.kernel, self.antialias

    @property
    def exact_in_float32(self) -> bool:
        scaled = weight_matrix(*self._key) * _FLOAT32_UNIT
        return bool((scaled == np.rint(scaled)).all())

    def _band(self, device: torch.device) -> int:
        """How many outputs to compute at once: measured on a CPU; all of them where launches are dear."""
        if device.type != "cpu":
            return self.out_length
        if self.scale > 1:
            return 32
        return 8 if self.rows else 16

    def apply(self, work: torch.Tensor) -> torch.Tensor:
        """Multiply by the weights, a band of outputs at a time: a band needs few inputs."""
        height, channels, width = work.shape
        blocks = _blocks(*self._key, self._band(work.device), work.dtype, work.device)
        if self.rows:
            flat = work.reshape(height, channels * width)
            out = flat.new_empty((self.out_length, channels * width))
            for start, first, weights in blocks:
                torch.mm(weights, flat[first : first + weights.shape[1]], out=out[start : start + len(weights)])
            return out.view(self.out_length, channels, width)
        flat = work.reshape(height * channels, width)
        out = flat.new_empty((height * channels, self.out_length))
        for start, first, weights in blocks:
            torch.mm(flat[:, first : first + weights.shape[1]], weights.T, out=out[:, start : start + len(weights)])
        return out.view(height, channels, self.out_length)


@lru_cache(maxsize=64)
def _blocks(
    length: int,
    out_length: int,
    scale: Fraction,
    kernel: str,
    antialias: bool,
    size: int,
    dtype: torch.dtype,
    device: torch.device,
) -> list[tuple[int, int, torch.Tensor]]:
    """Cut the weight matrix into bands of ``size`` outputs: (first output, first input, weights)."""
    matrix = weight_matrix(length, out_length, scale, kernel, antialias)
    blocks = []
    for start in range(0, out_length, size):
        band = matrix[start : start + size]
        used = np.flatnonzero(band.any(0))
        first, stop = int(used[0]), int(used[-1]) + 1
        weights = torch.from_numpy(np.ascontiguousarray(band[:, first:stop]))
        blocks.append((start, first, weights.to(device=device, dtype=dtype)))
    return blocks


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


def _rows_first(frame: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """``(C, H, W)`` as a contiguous ``(H, C, W)``, in which both passes are plain matrix products."""
    channels, height, width = frame.shape
    return torch.empty((height, channels, width), dtype=dtype, device=frame.device).copy_(frame.permute(1, 0, 2))


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
