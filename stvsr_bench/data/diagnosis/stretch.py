"""A stretch of neighbouring frames of an output and its ground truth, seen small."""

from __future__ import annotations

import numpy as np

from stvsr_bench.data.diagnosis.registration import translate
from stvsr_bench.data.diagnosis.timing import (
    LONGEST_LAG,
    STILL_LEVELS,
    Numbers,
    Run,
    changes,
    lag_costs,
    moving,
    over_runs,
    repeated,
    runs_of,
)
from stvsr_bench.data.diagnosis.views import Plane, look
from stvsr_bench.video.clip import Clip

LONGEST_WHOLE = 240
"""Clips of up to this many frames are looked at whole."""
WINDOWS, WINDOW = 8, 30
"""Of longer ones, this many stretches of this many frames, evenly spread from the first frame to the last."""


def windows(count: int) -> list[range]:
    """Return the frames of a clip that are looked at.

    >>> windows(31), [(w.start, w.stop) for w in windows(1000)][:2]
    ([range(0, 31)], [(0, 30), (139, 169)])
    """
    if count <= LONGEST_WHOLE:
        return [range(count)]
    starts = [round(i * (count - WINDOW) / (WINDOWS - 1)) for i in range(WINDOWS)]
    return [range(start, start + WINDOW) for start in starts]


class Stretch:
    """Views of the output frames ``frames`` and of the GT frames around them, repeats, and what lags cost.

    Args:
        output: the output.
        truth: its ground truth, of equal size.
        frames: numbers of neighbouring output frames.

    Attributes:
        start: number of the first output frame.
        factor: full-size pixels per pixel of a band view.
        repeats: positions of output frames that repeat the one before although GT moves.
        least_ratio: the least change of the output beside that of GT, or ``None`` where GT is still.
        moving: GT frames at the output's places that differ from the one before by motion.
        runs: what the frames fall into when repeats are joined; rows of costs are runs.
        lags: the lag of every run, as far as it is known.
        best: the rows that fit best.
    """

    def __init__(self, output: Clip, truth: Clip, frames: range) -> None:
        known = range(max(frames.start - LONGEST_LAG, 0), min(frames.stop + LONGEST_LAG, len(truth)))
        made, wanted = look(output, frames), look(truth, known)
        self.start = frames.start
        self.factor = made.factor
        self._before = frames.start - known.start
        self._truths = wanted.bands
        own = self._truths[self._before : self._before + len(made)]
        self._outputs = _with_contrast_of(made.bands, own)
        self.repeats, self.least_ratio = repeated(self._outputs, own)
        self._moves = moving(own)
        self.moving = int(self._moves.sum())
        self._steps = np.square(changes(own))
        self.runs = runs_of(len(made), self.repeats)
        self.lags = [0] * len(self.runs)
        self.best = list(range(len(self.runs)))

    def __len__(self) -> int:
        return len(self._outputs)

    def weigh(self, reach: int, x: float = 0.0, y: float = 0.0) -> tuple[Numbers, Numbers]:
        """Return the costs of lags for each run (whole lags, then halves), GT moved by ``x`` and ``y`` beforehand."""
        truths = self._truths if x == y == 0 else [translate(band, x, y) for band in self._truths]
        self._costs, half = lag_costs(self._outputs, truths, reach, self._before)
        return over_runs(self._costs, self.runs), over_runs(half, self.runs)

    def motion(self) -> Numbers:
        """Return the mean square change of GT at every run; infinite where it is still."""
        found = np.full(len(self.runs), np.inf)
        for row, run in enumerate(self.runs):
            around = slice(run.start, run.stop + 1)
            if self._moves[around].any():
                found[row] = max(float(self._steps[around].max()), STILL_LEVELS**2)
        return found

    def pairs(self) -> list[tuple[int, int]]:
        """Return the best frames as numbers of output frames and of the GT frames that they show."""
        return [(self.start + i, self.start - self._before + j) for i, j in self._inside()]

    def bands(self) -> list[tuple[Plane, Plane]]:
        """Return the band views of the best frames and of their GT."""
        return [(self._outputs[i], self._truths[j]) for i, j in self._inside()]

    def _inside(self) -> list[tuple[int, int]]:
        found = []
        for row in self.best:
            i, lag = self._member(self.runs[row], self.lags[row]), self.lags[row]
            if 0 <= i + lag + self._before < len(self._truths):
                found.append((i, i + lag + self._before))
        return found

    def _member(self, run: Run, lag: int) -> int:
        """Return the frame of a run that fits best at ``lag``."""
        costs = self._costs[run.start : run.stop, self._costs.shape[1] // 2 + lag]
        return run.start + (0 if np.isnan(costs).all() else int(np.nanargmin(costs)))


def _with_contrast_of(outputs: list[Plane], truths: list[Plane]) -> list[Plane]:
    """Return the outputs at GT's contrast, all by one gain: a wrong range is no matter of time or place.

    Blended frames lose contrast too, so the frames with the most of it settle the gain.
    """
    ratios = []
    for output, truth in zip(outputs, truths, strict=True):
        power = float(np.mean(np.square(output)))
        if power > 0:
            ratios.append(np.sqrt(float(np.mean(np.square(truth))) / power))
    gain = np.float32(np.percentile(ratios, 10)) if ratios else np.float32(1)
    return [output * gain for output in outputs]
