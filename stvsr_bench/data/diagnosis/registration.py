"""The constant sub-pixel shift between frames and their ground truth, by least squares over all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from stvsr_bench.data.diagnosis.views import Plane

_TAPS = 8
_STEPS = 8
_CONVERGED = 1e-3
_MARGIN = 6


@dataclass(frozen=True)
class Shift:
    """A displacement of the output against the ground truth, in pixels of the views.

    Attributes:
        x: to the right.
        y: downwards.
        spread: how much single frames differ from it: 1.4826 times the median absolute deviation, the larger of both
            directions.
        before: mean square difference without the shift.
        after: mean square difference that is left with it.
    """

    x: float
    y: float
    spread: float
    before: float
    after: float

    @property
    def size(self) -> float:
        """Its length."""
        return float(np.hypot(self.x, self.y))


def translate(image: Plane, x: float, y: float) -> Plane:
    """Return the image moved right by ``x`` and down by ``y`` pixels (windowed sinc, reflected at the edges).

    OpenCV's own warping rounds to 1/32 pixel, which at a reduction by 5 is 0.16 pixels of the full frame.
    """
    whole_x, whole_y = round(x), round(y)
    moved = cv2.sepFilter2D(
        image, cv2.CV_32F, _sinc(x - whole_x), _sinc(y - whole_y), borderType=cv2.BORDER_REFLECT_101
    )
    return np.asarray(np.roll(moved, (whole_y, whole_x), (0, 1)), np.float32)


def _sinc(offset: float) -> Plane:
    """Taps that move a signal to the right by ``offset`` when they are correlated with it."""
    position = np.arange(-_TAPS, _TAPS + 1) + offset
    window = np.where(np.abs(position) < _TAPS, np.cos(np.pi * position / (2 * _TAPS)) ** 2, 0.0)
    taps = np.sinc(position) * window
    return np.asarray(taps / taps.sum(), np.float32)


def find_shift(outputs: Sequence[Plane], truths: Sequence[Plane]) -> Shift:
    """Return the shift that, the same for every pair, leaves the least squares.

    Gauss-Newton steps on the sum over all pairs, begun at the peak of their phase correlation. At the solution the
    difference is orthogonal to the gradient, which blur or sharpening with any symmetric kernel does not move.
    """
    limit = min(truths[0].shape) / 4
    starts = [start for start in (np.zeros(2), _peak(outputs, truths)) if np.abs(start).max() < limit]
    before = _residual(outputs, truths, np.zeros(2))
    shift = min(starts, key=lambda start: _residual(outputs, truths, start))
    singles = np.zeros((len(outputs), 2))
    for _ in range(_STEPS):
        step, singles = _step(outputs, truths, shift)
        shift = np.clip(shift + step, -limit, limit)
        if np.abs(step).max() < _CONVERGED:
            break
    spread = 1.4826 * np.median(np.abs(singles - np.median(singles, axis=0)), axis=0)
    after = _residual(outputs, truths, shift)
    return Shift(float(shift[0]), float(shift[1]), float(spread.max()), before, after)


def _peak(outputs: Sequence[Plane], truths: Sequence[Plane]) -> np.ndarray:
    """Return the whole-pixel shift at the peak of the summed phase correlation of all pairs."""
    # Not cv2.phaseCorrelate: OpenCV 5.0 multiplies the window into its arguments where their size needs no padding.
    height, width = truths[0].shape
    window = np.outer(np.hanning(height), np.hanning(width)).astype(np.float32)
    total = np.zeros((height, width // 2 + 1), np.complex128)
    for output, truth in zip(outputs, truths, strict=True):
        cross = np.fft.rfft2(output * window) * np.conj(np.fft.rfft2(truth * window))
        total += cross / (np.abs(cross) + 1e-9)
    surface = np.fft.irfft2(total, (height, width))
    y, x = (int(i) for i in np.unravel_index(int(np.argmax(surface)), surface.shape))
    return np.array([x - width if x > width // 2 else x, y - height if y > height // 2 else y], np.float64)


def _inside(size: tuple[int, ...], shift: np.ndarray) -> tuple[slice, slice]:
    margins = (min(_MARGIN + int(np.ceil(abs(move))), side // 3) for side, move in zip(size, shift[::-1], strict=True))
    rows, columns = (slice(margin, side - margin) for side, margin in zip(size, margins, strict=True))
    return rows, columns


def _residual(outputs: Sequence[Plane], truths: Sequence[Plane], shift: np.ndarray) -> float:
    inside = _inside(truths[0].shape, shift)
    total = 0.0
    for output, truth in zip(outputs, truths, strict=True):
        moved = truth if not shift.any() else translate(truth, *shift)
        total += float(np.mean(np.square(output[inside] - moved[inside])))
    return total / len(outputs)


def _step(outputs: Sequence[Plane], truths: Sequence[Plane], shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the joint Gauss-Newton step, and the step that each pair would take for itself."""
    inside = _inside(truths[0].shape, shift)
    matrix, vector = np.zeros((2, 2)), np.zeros(2)
    singles = []
    for output, truth in zip(outputs, truths, strict=True):
        moved = translate(truth, *shift)
        x = -cv2.Sobel(moved, cv2.CV_32F, 1, 0, ksize=3)[inside].ravel() / 8
        y = -cv2.Sobel(moved, cv2.CV_32F, 0, 1, ksize=3)[inside].ravel() / 8
        error = (output[inside] - moved[inside]).ravel()
        own = np.array([[x @ x, x @ y], [x @ y, y @ y]], np.float64)
        right = np.array([x @ error, y @ error], np.float64)
        matrix += own
        vector += right
        singles.append(_solve(own, right))
    return _solve(matrix, vector), np.asarray(singles)


def _solve(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    # A frame without detail in one direction leaves that direction open: a small ridge keeps it at zero.
    ridge = np.eye(2) * (1e-6 * np.trace(matrix) + 1e-9)
    return np.asarray(np.linalg.solve(matrix + ridge, vector))
