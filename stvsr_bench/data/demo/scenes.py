"""The four demo scenes: which photograph, seen along which exact camera path."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SIZE = 256
FRAMES = 17

Points = npt.NDArray[np.complex128]
"""Positions x + iy in pixels; the centre of the first pixel is 0."""

# Coefficients are multiples of 1/8192, so that positions at the 4x4 sub-pixel grid are exact multiples of 2^-16.
_EXACT = 8192
_VIEW_CENTRE = complex(SIZE - 1, SIZE - 1) / 2


def pixel_centres() -> Points:
    """View positions x + iy of the pixel centres, ``(256, 256)``."""
    axis = np.arange(SIZE, dtype=np.float64)
    return np.asarray(axis[None, :] + 1j * axis[:, None])


@dataclass(frozen=True)
class Path:
    """A path of similarities: view pixel ``q`` shows photograph point ``p = centre(t) + zoom(t)·(q - view centre)``.

    Positions are complex numbers x + iy, so one complex factor is a zoom with a rotation and no sine is needed.
    Both polynomials have coefficients that are multiples of 1/8192: at whole frame numbers every position is exact in
    float64 on every machine.

    Args:
        centre: coefficients (1, t, t², …) of the photograph point at the view's centre, photograph pixels.
        zoom: coefficients of the photograph pixels per view pixel.

    Raises:
        ValueError: a coefficient is no multiple of 1/8192.
    """

    centre: tuple[complex, ...]
    zoom: tuple[complex, ...]

    def __post_init__(self) -> None:
        for value in (*self.centre, *self.zoom):
            if not ((value.real * _EXACT).is_integer() and (value.imag * _EXACT).is_integer()):
                raise ValueError(f"path coefficient {value} is not a multiple of 1/{_EXACT}")

    def to_photograph(self, points: Points, t: float) -> Points:
        """Photograph points that the view pixels ``points`` show at time ``t`` (in frames)."""
        return _polynomial(self.centre, t) + _polynomial(self.zoom, t) * (points - _VIEW_CENTRE)

    def to_view(self, points: Points, t: float) -> Points:
        """View pixels where the photograph points ``points`` stand at time ``t``: inverse of ``to_photograph``."""
        return _VIEW_CENTRE + (points - _polynomial(self.centre, t)) / _polynomial(self.zoom, t)


def _polynomial(coefficients: tuple[complex, ...], t: float) -> complex:
    value = 0j
    for c in reversed(coefficients):
        value = value * t + c
    return value


@dataclass(frozen=True)
class Ellipse:
    """The part of a photograph that a foreground layer shows, with a hard edge.

    Args:
        centre: photograph point x + iy.
        radii: half axes along x and y, photograph pixels.
    """

    centre: complex
    radii: tuple[int, int]

    def contains(self, points: Points) -> npt.NDArray[np.bool_]:
        """Whether each photograph point lies inside or on the edge."""
        rx, ry = self.radii
        d = points - self.centre
        return np.asarray((d.real * ry) ** 2 + (d.imag * rx) ** 2 <= (rx * ry) ** 2)


@dataclass(frozen=True)
class Layer:
    """A photograph that moves along a path; ``shape`` limits it, ``None`` fills the view."""

    photograph: str
    path: Path
    shape: Ellipse | None = None

    def covers(self, points: Points, t: float) -> npt.NDArray[np.bool_]:
        """Whether the layer shows something at the view pixels ``points`` at time ``t``."""
        if self.shape is None:
            return np.ones(points.shape, np.bool_)
        return self.shape.contains(self.path.to_photograph(points, t))


@dataclass(frozen=True)
class Scene:
    """A clip of ``FRAMES`` frames of ``SIZE × SIZE`` pixels, made of layers from back to front."""

    name: str
    layers: tuple[Layer, ...]

    def layer_at(self, points: Points, t: float) -> npt.NDArray[np.int64]:
        """Index of the layer seen at each of the view pixels ``points`` at time ``t``."""
        index = np.zeros(points.shape, np.int64)
        for i, layer in enumerate(self.layers):
            index[layer.covers(points, t)] = i
        return index


SCENES: dict[str, Scene] = {
    s.name: s
    for s in (
        # Zoom in with a rotation; the pan keeps even the slowest corner moving.
        Scene(
            "astronaut",
            (
                Layer(
                    "astronaut",
                    Path(centre=(265 + 262j, -2.75 - 4.75j, (11 + 20j) / 1024), zoom=(1.375 + 0j, (-11 + 7j) / 1024)),
                ),
            ),
        ),
        # Pan at a constant sub-pixel speed.
        Scene("chelsea", (Layer("chelsea", Path(centre=(155 + 144j, 3.375 + 0.625j), zoom=(1.0625 + 0j,))),)),
        # Parallax: the cup passes in front of the table.
        Scene(
            "coffee",
            (
                Layer("coffee", Path(centre=(420 + 225j, -3.125 - 1.25j), zoom=(1.25 + 0j,))),
                Layer(
                    "coffee",
                    Path(centre=(375 + 60j, -6.5 + 2.25j), zoom=(1.5 + 0j,)),
                    Ellipse(290 + 106j, (118, 89)),
                ),
            ),
        ),
        # Accelerating from 2 to 6 pixels per frame.
        Scene(
            "rocket", (Layer("rocket", Path(centre=(240 + 260j, 2.5 - 0.5j, 0.15625 - 0.03125j), zoom=(1.25 + 0j,))),)
        ),
    )
}
