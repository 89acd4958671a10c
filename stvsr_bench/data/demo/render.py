"""Rendering of demo frames by 4x supersampling, in arithmetic that is exact and so equal on every machine."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from stvsr_bench.core.errors import DataError
from stvsr_bench.data.demo.photographs import Pixels, photograph
from stvsr_bench.data.demo.scenes import SIZE, Layer, Points, Scene, pixel_centres

SUPERSAMPLING = 4
_BAND = 4  # rows at a time: arrays that stay in the processor's cache are several times faster

_Planes = npt.NDArray[np.float64]


def render(scene: Scene, t: int) -> Pixels:
    """Render frame ``t`` as uint8 RGB ``(256, 256, 3)``.

    Every pixel is the mean of 4 × 4 bilinear samples, each taken from the front layer at its own position, rounded
    once as floor(x + 0.5). Positions are multiples of 2^-16, so samples are multiples of 2^-32 below 2^8 and their
    sums fit the 53 bits of float64: nothing is rounded before the end, and no order of operations, vector width or
    fused multiply-add can change a bit.

    Raises:
        DataError: a sample lies outside the photograph.
    """
    axis = (np.arange(SUPERSAMPLING) + 0.5) / SUPERSAMPLING - 0.5
    offsets = (axis + 1j * axis[:, None]).reshape(-1, 1, 1)
    bands = [_colours(scene, rows + offsets, t).sum(axis=1) for rows in np.split(pixel_centres(), SIZE // _BAND)]
    mean = np.concatenate(bands, axis=1) / SUPERSAMPLING**2
    return np.floor(mean + 0.5).astype(np.uint8).transpose(1, 2, 0).copy()


def _colours(scene: Scene, points: Points, t: int) -> _Planes:
    back, *front = scene.layers
    colours = _sample(back, points.ravel(), t, scene.name)
    for layer in front:
        covered = layer.covers(points, t).ravel()
        colours[:, covered] = _sample(layer, points.ravel()[covered], t, scene.name)
    return colours.reshape(3, *points.shape)


def _sample(layer: Layer, points: Points, t: int, clip: str) -> _Planes:
    """Bilinear colours ``(3, n)`` of ``layer``'s photograph at the view positions ``points`` ``(n,)``."""
    height, width, planes = _planes(layer.photograph)
    positions = layer.path.to_photograph(points, t)
    x, y = positions.real, positions.imag
    if len(x) and not (x.min() >= 0 and x.max() < width - 1 and y.min() >= 0 and y.max() < height - 1):
        raise DataError(
            f"dataset 'demo': the view leaves the photograph '{layer.photograph}' in frame {t} of clip '{clip}'",
            got=f"x {x.min():.2f} to {x.max():.2f}, y {y.min():.2f} to {y.max():.2f}",
            accepted=f"0 ≤ x < {width - 1}, 0 ≤ y < {height - 1}",
            action="change the scene's path",
        )
    left, top = x.astype(np.int64), y.astype(np.int64)
    fx, fy = x - left, y - top
    corner = top * width + left
    colours = np.empty((3, len(x)))
    for plane, out in zip(planes, colours, strict=True):
        a, b = plane.take(corner), plane.take(corner + 1)
        c, d = plane.take(corner + width), plane.take(corner + width + 1)
        upper = a + fx * (b - a)
        out[:] = upper + fy * (c + fx * (d - c) - upper)
    return colours


@functools.cache
def _planes(name: str) -> tuple[int, int, _Planes]:
    pixels = photograph(name)
    return *pixels.shape[:2], np.ascontiguousarray(pixels.reshape(-1, 3).T, dtype=np.float64)
