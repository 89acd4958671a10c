"""Exact motion of a demo scene: flow of the visible layer and occlusion, between any two times."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stvsr_bench.data.demo.scenes import SIZE, Points, Scene, pixel_centres


def flow(scene: Scene, t: float, other: float) -> npt.NDArray[np.float64]:
    """Return where the scene point seen at each pixel centre at time ``t`` stands at time ``other``.

    Args:
        scene: one of ``SCENES``.
        t: time in frames; need not be whole.
        other: later (forward flow) or earlier (backward flow) time.

    Returns:
        Displacement (dx, dy) in pixels, ``(256, 256, 2)``, of the visible layer; defined where it is hidden or outside
        the view at ``other``, too.
    """
    moved = _moved(scene, t, other) - pixel_centres()
    return np.stack([moved.real, moved.imag], axis=-1)


def occluded(scene: Scene, t: float, other: float) -> npt.NDArray[np.bool_]:
    """Return the pixels of time ``t`` whose scene point at the pixel centre is not seen at time ``other``.

    The point is covered by a layer further in front, or lies outside the view ``[-0.5, 255.5)²``.

    Returns:
        ``(256, 256)``.
    """
    moved = _moved(scene, t, other)
    inside = (moved.real >= -0.5) & (moved.real < SIZE - 0.5) & (moved.imag >= -0.5) & (moved.imag < SIZE - 0.5)
    return ~inside | (scene.layer_at(moved, other) > scene.layer_at(pixel_centres(), t))


def _moved(scene: Scene, t: float, other: float) -> Points:
    points = pixel_centres()
    seen = scene.layer_at(points, t)
    moved = points.copy()
    for index, layer in enumerate(scene.layers):
        mask = seen == index
        moved[mask] = layer.path.to_view(layer.path.to_photograph(points[mask], t), other)
    return moved
