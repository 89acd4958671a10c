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

GAIN = 0.08
"""A fault must shrink the residual by a factor of exp(0.08), geometric mean of the three colour directions."""
LIKENESS = (0.7, 1.3)
"""Part of the fault's own change that must be seen: drift of colours by a method is of any size and direction."""
SMALLEST_CHANGE = 0.3
"""A fault that would change the colours by less (RMS, levels) cannot be told: gray pictures have no matrix."""
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
        likeness: how much of the fault's own change is seen; 1 is all of it.
    """

    range: str = ""
    matrix: str = ""
    order: str = ""
    gain: float = 0.0
    likeness: float = 0.0

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
        gain = base - _spread(plain - change)
        highest = max(highest, gain)
        inverse = np.linalg.inv(_moments(plain - change))
        likeness = float(np.sum((plain @ inverse) * change) / np.sum((change @ inverse) * change))
        if gain > max(GAIN, best.gain) and LIKENESS[0] < likeness < LIKENESS[1]:
            best = ColourFault(*names, gain=float(gain), likeness=likeness)
    return best, float(highest)


def _moments(residual: Matrix) -> Matrix:
    return np.asarray(residual.T @ residual / len(residual) + _ROUNDING * np.eye(3))


def _spread(residual: Matrix) -> float:
    """Logarithm of the geometric mean of the residual's RMS along its three principal directions."""
    return float(np.linalg.slogdet(_moments(residual))[1]) / 6
