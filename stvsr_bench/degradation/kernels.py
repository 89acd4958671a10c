"""The interpolation kernels of MATLAB's ``imresize`` and the weights they give, in exact positions."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from stvsr_bench.core.errors import ConfigError, nearest

Array = np.ndarray[Any, np.dtype[Any]]


def _box(x: Array) -> Array:
    return ((x >= -0.5) & (x < 0.5)).astype(np.float64)


def _triangle(x: Array) -> Array:
    return np.asarray(np.maximum(1 - np.abs(x), 0))


def _cubic(x: Array) -> Array:
    """Keys' cubic with a = -0.5."""
    a = np.abs(x)
    inner = (1.5 * a - 2.5) * a * a + 1
    outer = ((-0.5 * a + 2.5) * a - 4) * a + 2
    return np.asarray(np.where(a <= 1, inner, np.where(a <= 2, outer, 0.0)))


def _lanczos(lobes: int) -> Callable[[Array], Array]:
    def kernel(x: Array) -> Array:
        # sinc(x)·sinc(x/n), which MATLAB writes with an eps in both halves of the quotient
        return np.asarray(np.where(np.abs(x) < lobes, np.sinc(x) * np.sinc(x / lobes), 0.0))

    return kernel


KERNELS: dict[str, tuple[Callable[[Array], Array], int]] = {
    "nearest": (_box, 1),
    "box": (_box, 1),
    "bilinear": (_triangle, 2),
    "bicubic": (_cubic, 4),
    "lanczos2": (_lanczos(2), 4),
    "lanczos3": (_lanczos(3), 6),
}
"""Kernel function and its width in samples, by MATLAB's names; ``nearest`` is ``box`` that never antialiases."""


def check_kernel(kernel: str) -> None:
    """Raise ``ConfigError`` where ``kernel`` is not one of ``KERNELS``."""
    if kernel not in KERNELS:
        close = nearest(kernel, KERNELS)
        raise ConfigError(
            f"unknown kernel '{kernel}'",
            accepted=", ".join(KERNELS),
            action=f"did you mean '{close[0]}'?" if close else None,
        )


@lru_cache(maxsize=64)
def weight_matrix(length: int, out_length: int, scale: Fraction, kernel: str, antialias: bool) -> Array:
    """Weights that resize one dimension, as a matrix ``(out_length, length)``, float64, rows summing to 1.

    Positions are integer arithmetic, so that a sample on the edge of a kernel falls on the right side; the boundary is
    mirrored with the edge sample repeated, its weights folded onto the samples inside.

    Args:
        length: samples in.
        out_length: samples out.
        scale: output over input sampling rate.
        kernel: a key of ``KERNELS``.
        antialias: stretch the kernel by 1/scale where scale < 1.

    Source: MATLAB ``imresize`` (``contributions``), 0-based: u = (x + 0.5)/s - 0.5.
    """
    function, width = KERNELS[kernel]
    p, q = scale.numerator, scale.denominator
    stretch = antialias and kernel != "nearest" and p < q
    # all positions are counted in units of 1/(2p) input samples
    centre = (2 * np.arange(out_length, dtype=np.int64) + 1) * q - p
    reach = width * (q if stretch else p)
    first = -((reach - centre) // (2 * p))  # ceil((centre - reach) / 2p)
    taps = first[:, None] + np.arange(reach // p + 2)
    distance = (centre[:, None] - 2 * p * taps) / (2 * q if stretch else 2 * p)
    weights = function(distance)
    weights /= weights.sum(1, keepdims=True)
    mirrored = taps % (2 * length)
    mirrored = np.where(mirrored < length, mirrored, 2 * length - 1 - mirrored)
    matrix = np.zeros((out_length, length))
    np.add.at(matrix, (np.arange(out_length)[:, None], mirrored), weights)
    return matrix
