"""Resizing without antialiasing, as OpenCV and PyTorch do it inside degradation pipelines."""

from __future__ import annotations

import math
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from stvsr_bench.core.errors import ConfigError
from stvsr_bench.degradation.frame import Array, Float, as_float, check_frame

Interpolation = Literal["bilinear", "area", "bicubic"]

INTERPOLATIONS: dict[str, int] = {
    "bilinear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "bicubic": cv2.INTER_CUBIC,
}
"""Accepted by both backends; the values are OpenCV's."""

BACKENDS = ("cv2", "torch")


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Return the size that PyTorch gives for ``scale_factor``: each side times ``scale``, rounded down."""
    return math.floor(size[0] * scale), math.floor(size[1] * scale)


def resize(
    frame: Array,
    size: tuple[int, int],
    interpolation: str,
    backend: str = "cv2",
    *,
    scale: float | None = None,
) -> Array:
    """Resize one frame to ``size``; nothing is clipped.

    Both backends map pixel centres to pixel centres ((i + 0.5)·ratio - 0.5), take a = -0.75 for ``bicubic`` and do not
    antialias: reducing by more than two skips samples, which is part of these degradations. They differ in ``area``:
    OpenCV averages exact fractional areas when reducing (and interpolates between neighbours when enlarging), PyTorch
    averages whole samples (``adaptive_avg_pool``).

    ``torch`` is PyTorch's arithmetic (``F.interpolate``, ``align_corners=False``), written out in NumPy: PyTorch itself
    gives another last bit with another number of threads. Positions are float64 here and float32 there, which moves a
    sample by some hundredths of a level at most.

    ``cv2`` keeps the dtype: uint8 is interpolated in fixed point, rounded and saturated, float32 may overshoot with
    ``bicubic``. ``torch`` always returns float32.

    Shapes: ``(H, W, 3)`` → ``(h, w, 3)``.

    Args:
        frame: float32 or uint8 RGB, grey levels.
        size: rows and columns of the result.
        interpolation: a key of ``INTERPOLATIONS``.
        backend: ``cv2`` or ``torch``.
        scale: ``torch`` only: give this factor instead of the size, as ``F.interpolate(scale_factor=…)``; positions
            then advance by exactly 1/scale rather than by the quotient of the rounded sizes (``area`` looks at the
            sizes only). ``size`` must be ``scaled_size``.

    Raises:
        ConfigError: an unknown interpolation or backend, an empty size, or a scale that does not fit.
        DataError: not a frame.
    """
    check_frame(frame, "resize")
    source = (int(frame.shape[0]), int(frame.shape[1]))
    if interpolation not in INTERPOLATIONS:
        raise ConfigError("resize: interpolation", got=f"'{interpolation}'", accepted=", ".join(INTERPOLATIONS))
    if backend not in BACKENDS:
        raise ConfigError("resize: backend", got=f"'{backend}'", accepted=", ".join(BACKENDS))
    if size[0] < 1 or size[1] < 1:
        raise ConfigError(
            "resize: the result would be empty",
            got=f"{source[1]}×{source[0]} to {size[1]}×{size[0]}",
            accepted="at least 1×1",
            action="degrade larger frames: random factors bring small ones below one pixel",
        )
    if backend == "cv2":
        if scale is not None:
            raise ConfigError("resize: scale with backend 'cv2'", accepted="a size alone; scale belongs to 'torch'")
        return np.asarray(cv2.resize(frame, (size[1], size[0]), interpolation=INTERPOLATIONS[interpolation]))
    if scale is not None and (not scale > 0 or scaled_size(source, scale) != tuple(size)):
        raise ConfigError(
            "resize: size and scale do not fit",
            got=f"{source[1]}×{source[0]} to {size[1]}×{size[0]} by {scale}",
            accepted="the size that scaled_size gives, and a scale above 0",
        )
    return _torch(frame, size, interpolation, scale)


def _torch(frame: Array, size: tuple[int, int], interpolation: str, scale: float | None) -> Float:
    ratios = [source / done if scale is None else 1 / scale for source, done in zip(frame.shape[:2], size, strict=True)]
    done = as_float(frame)
    for axis in (0, 1):
        taps, weights = _taps(interpolation, done.shape[axis], size[axis], ratios[axis])
        shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
        total = np.zeros((size[0], done.shape[1] if axis == 0 else size[1], 3), np.float32)
        for tap, weight in zip(taps.T, weights.T, strict=True):
            part = done.take(tap, axis)
            part *= weight.reshape(shape)
            total += part
        done = total
    return done


def _taps(
    interpolation: str, length: int, out: int, ratio: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return which samples of one dimension make each new sample, and their weights, ``(out, taps)`` each."""
    index = np.arange(out, dtype=np.int64)
    if interpolation == "area":
        start, stop = index * length // out, -(-(index + 1) * length // out)
        taps = start[:, None] + np.arange(int((stop - start).max()))
        weights = np.where(taps < stop[:, None], 1 / (stop - start)[:, None], 0.0)
        return np.minimum(taps, length - 1), weights.astype(np.float32)
    centre = (index + 0.5) * ratio - 0.5
    reach = 1 if interpolation == "bilinear" else 2
    taps = np.floor(centre).astype(np.int64)[:, None] + np.arange(1 - reach, 1 + reach)
    distance = np.abs(centre[:, None] - taps)
    if interpolation == "bilinear":
        weights = 1 - distance
    else:
        inner = (1.25 * distance - 2.25) * distance**2 + 1
        outer = ((-0.75 * distance + 3.75) * distance - 6) * distance + 3
        weights = np.where(distance <= 1, inner, outer)
    return np.clip(taps, 0, length - 1), weights.astype(np.float32)
