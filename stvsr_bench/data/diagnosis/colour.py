"""Colour faults: the range or the matrix of Y'CbCr taken for another, red and blue exchanged."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stvsr_bench.data.diagnosis.views import reduced

Colours = npt.NDArray[np.float32]
"""Mean RGB of cells, ``(cells, 3)``, in levels of 0 … 255."""
Matrix = npt.NDArray[np.float64]

GAIN = 0.1
"""A fault must shrink the residual by a factor of exp(0.1), geometric mean of the three colour directions."""
GAIN_WITHOUT_BIAS = 0.04
"""The same with a constant of up to 1.5 levels per channel, which conversions leave, taken out of both residuals."""
AMOUNT = (0.68, 1.35)
"""How much of each part of a fault must be seen: drift of colours by a method is of any amount."""
MEAN_LEVELS = 2.0
"""With the fault applied, mean colours must agree to this many levels."""
SMALLEST_CHANGE = 0.3
"""A fault that would change the colours by less (RMS, levels) cannot be told: gray pictures have no matrix."""
_BIAS = 1.5  # converters that cut instead of rounding darken channels by about as many levels, each by another amount
_CELLS = 28  # along the shorter side
_ROUNDING = 0.02  # variance that averaging rounded samples leaves, levels²


def _matrix(red: float, blue: float) -> Matrix:
    """RGB to Y'CbCr of full range with the luma weights of red and blue."""
    green = 1 - red - blue
    return np.array(
        [
            [red, green, blue],
            [-red / (2 * (1 - blue)), -green / (2 * (1 - blue)), 0.5],
            [0.5, -green / (2 * (1 - red)), -blue / (2 * (1 - red))],
        ]
    )


_BT601, _BT709 = _matrix(0.299, 0.114), _matrix(0.2126, 0.0722)
RANGES = {
    "": (1.0, 0.0),
    "limited range shown as full": (219 / 255, 16.0),
    "full range shown as limited": (255 / 219, -16 * 255 / 219),
}
MATRICES = {
    "": np.eye(3),
    "BT.601 decoded as BT.709": np.linalg.inv(_BT709) @ _BT601,
    "BT.709 decoded as BT.601": np.linalg.inv(_BT601) @ _BT709,
}
ORDERS = {"": np.eye(3), "red and blue exchanged": np.eye(3)[::-1]}


@dataclass(frozen=True)
class ColourFault:
    """The combination of faults that explains the colours best, or none.

    Attributes:
        range: a key of :data:`RANGES`; ``""``: none.
        matrix: a key of :data:`MATRICES`.
        order: a key of :data:`ORDERS`.
        gain: logarithm of the factor by which it shrinks the residual.
        amounts: how much of the range's and of the matrix's own change is seen; 1 is all of it.
    """

    range: str = ""
    matrix: str = ""
    order: str = ""
    gain: float = 0.0
    amounts: tuple[float, float] = (0.0, 0.0)

    @property
    def names(self) -> list[str]:
        """The faults that it combines."""
        return [name for name in (self.range, self.matrix, self.order) if name]


def cell_colours(pictures: Sequence[npt.NDArray[np.uint8]]) -> Colours:
    """Return the mean RGB of square cells of 1/28 of the shorter side, in levels.

    Shapes: pictures uint8 RGB ``(3, H, W)`` → float32 ``(cells of all pictures, 3)``.
    """
    side = max(min(pictures[0].shape[1:]) // _CELLS, 1)
    cells = [np.stack([reduced(channel, side).ravel() for channel in picture], axis=-1) for picture in pictures]
    return np.concatenate(cells)


def apply_fault(colours: npt.NDArray[np.floating], fault: ColourFault) -> npt.NDArray[np.float64]:
    """Return what ``fault`` makes of RGB levels ``(…, 3)``, clipped to 0 … 255, not rounded."""
    gain, offset = RANGES[fault.range]
    linear = ORDERS[fault.order] @ MATRICES[fault.matrix] * gain
    return np.asarray(np.clip(colours.astype(np.float64) @ linear.T + offset, 0.0, 255.0))


def find_fault(outputs: Colours, truths: Colours) -> tuple[ColourFault, float]:
    """Return the fault (an empty one for none) and the largest gain of any fault.

    Every combination is applied to GT and compared with the output by the determinant of the residual's second
    moments, which weighs each colour direction by its own noise: what restoration changes is mostly luma, so that a
    change of chroma that is small beside it still counts.

    Args:
        outputs: mean colours of output frames, of :func:`cell_colours`.
        truths: those of GT at the same times and places.
    """
    output, truth = outputs.astype(np.float64), truths.astype(np.float64)
    plain = output - truth
    base = _spread(plain)
    best, highest = ColourFault(), -np.inf
    for names in itertools.product(RANGES, MATRICES, ORDERS):
        fault = ColourFault(*names)
        change = apply_fault(truth, fault) - truth
        if not fault.names or np.sqrt(np.mean(np.square(change))) < SMALLEST_CHANGE:
            continue
        left = plain - change
        gain = base - _spread(left)
        highest = max(highest, gain)
        if gain <= max(GAIN, best.gain) or np.abs(left.mean(axis=0)).max() > MEAN_LEVELS:
            continue
        if _spread(plain - _bias(plain)) - _spread(left - _bias(left)) < GAIN_WITHOUT_BIAS:
            continue
        amounts = _amounts(output, truth, fault, _moments(left))
        wanted = [amount for amount, name in zip(amounts, names[:2], strict=True) if name]
        if all(AMOUNT[0] < amount < AMOUNT[1] for amount in wanted):
            best = ColourFault(*names, gain=float(gain), amounts=amounts)
    return best, float(highest)


def _amounts(output: Matrix, truth: Matrix, fault: ColourFault, moments: Matrix) -> tuple[float, float]:
    """Return how much of a range's and of a matrix's change is in the output, by least squares for both together.

    Both are always fitted: a drift of contrast would otherwise pass for a matrix.
    """
    order = ColourFault(order=fault.order)
    ranged = ColourFault(fault.range or "limited range shown as full", order=fault.order)
    mixed = ColourFault(matrix=fault.matrix or "BT.601 decoded as BT.709", order=fault.order)
    base = apply_fault(truth, order)
    parts = [apply_fault(truth, part) - base for part in (ranged, mixed)]
    inverse = np.linalg.inv(moments)
    table = np.array([[np.sum((a @ inverse) * b) for b in parts] for a in parts])
    seen = np.array([np.sum((a @ inverse) * (output - base)) for a in parts])
    first, second = np.linalg.solve(table + 1e-9 * np.trace(table) * np.eye(2), seen)
    return float(first), float(second)


def _bias(residual: Matrix) -> Matrix:
    """Return the small constant per channel that conversions leave; it says nothing of range or matrix."""
    return np.asarray(np.clip(residual.mean(axis=0), -_BIAS, _BIAS))


def _moments(residual: Matrix) -> Matrix:
    return np.asarray(residual.T @ residual / len(residual) + _ROUNDING * np.eye(3))


def _spread(residual: Matrix) -> float:
    """Logarithm of the geometric mean of the residual's RMS along its three principal directions."""
    return float(np.linalg.slogdet(_moments(residual))[1]) / 6
