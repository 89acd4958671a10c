"""Which frame of the ground truth each output frame shows: repeats, lags, and where the lag changes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stvsr_bench.data.diagnosis.views import Plane

Numbers = npt.NDArray[np.float64]

REPEAT_RATIO = 0.1
"""An output frame is repeated when it differs from the one before by less than this part of what GT does (RMS)."""
STILL_LEVELS = 0.6
"""GT frames that differ by less (RMS of band views, levels) are taken as still: nothing can be said of them."""
LONGEST_LAG = 8
_BEST_PART = 3  # offsets are judged on the best third of the frames: interpolated ones may lie far off
_LAG_GAIN = 0.6  # a lag must leave less than this part of the mean square difference without it
_AGREEMENT = 0.75  # and do so in this part of the frames
_SWITCH = 2.5  # frames' worth of evidence that a change of the lag must have
_FITTING = 0.25  # part of the motion by which a frame may fit worse than the best ones before it counts for nothing
_UNKNOWN = 0.5  # what a frame counts at a lag for which GT has no frame


@dataclass(frozen=True)
class Run:
    """Neighbouring output frames that show the same picture: ``start … stop - 1``; one frame where none is repeated."""

    start: int
    stop: int


@dataclass(frozen=True)
class Lag:
    """A constant offset in time.

    Attributes:
        frames: output frame i shows GT frame i + ``frames``; halves lie between two.
        at_zero: mean square difference without an offset.
        at_lag: mean square difference at the offset.
        agreement: part of the frames that agree.
    """

    frames: float
    at_zero: float
    at_lag: float
    agreement: float


@dataclass(frozen=True)
class Jump:
    """A change of the lag that lasts.

    Attributes:
        frame: first output frame after it.
        change: GT frames that were left out (positive), or output frames that are too many (negative).
    """

    frame: int
    change: int


def changes(frames: Sequence[Plane]) -> Numbers:
    """Return the RMS difference of every frame to the one before, in levels; zero for the first."""
    return np.array([0.0, *(np.sqrt(_square(a, b)) for a, b in itertools.pairwise(frames))])


def moving(truths: Sequence[Plane]) -> npt.NDArray[np.bool_]:
    """Return which GT frames differ from the one before by motion, not by noise alone.

    Noise makes frames differ equally however far they lie apart; with motion the difference grows with the distance,
    until nothing is alike any more.
    """
    near = changes(truths)
    apart = min(4, len(truths) - 1)
    far = np.array([np.sqrt(_square(truths[max(i, apart)], truths[max(i, apart) - apart])) for i in range(len(truths))])
    found = (near > STILL_LEVELS) & ((far > 1.25 * near) | (near > 6 * STILL_LEVELS))
    found[0] = False
    return found


def repeated(outputs: Sequence[Plane], truths: Sequence[Plane]) -> tuple[list[int], float | None]:
    """Return the output frames that repeat the one before although GT moves, and the least ratio of the two changes."""
    own, truth, moves = changes(outputs), changes(truths), moving(truths)
    ratios = [own[i] / truth[i] for i in range(1, len(outputs)) if moves[i]]
    frames = [i for i in range(1, len(outputs)) if moves[i] and own[i] < REPEAT_RATIO * truth[i]]
    return frames, (min(ratios) if ratios else None)


def runs_of(count: int, repeats: Sequence[int]) -> list[Run]:
    """Return the runs that ``count`` frames fall into when ``repeats`` show the same as the frame before."""
    starts = [i for i in range(count) if i not in set(repeats)]
    return [Run(start, stop) for start, stop in itertools.pairwise([*starts, count])]


def lag_costs(
    outputs: Sequence[Plane], truths: Sequence[Plane], reach: int, before: int = 0
) -> tuple[Numbers, Numbers]:
    """Return mean square differences of output frame i to GT around it; NaN where GT has no such frame.

    Args:
        outputs: band views.
        truths: likewise; position i + ``before`` is the frame of output frame i.
        reach: the longest lag.
        before: how many GT frames are known before the first output frame.

    Returns:
        ``(n, 2·reach + 1)``: to GT frame i + k, for k from -reach to reach; and ``(n, 2·reach)``: to the mean of GT
        frames i + k and i + k + 1.
    """
    whole = np.full((len(outputs), 2 * reach + 1), np.nan)
    half = np.full((len(outputs), 2 * reach), np.nan)
    for i, output in enumerate(outputs):
        for column, k in enumerate(range(-reach, reach + 1)):
            j = i + k + before
            if not 0 <= j < len(truths):
                continue
            whole[i, column] = _square(output, truths[j])
            if k < reach and j + 1 < len(truths):
                half[i, column] = _square(output, (truths[j] + truths[j + 1]) * np.float32(0.5))
    return whole, half


def over_runs(costs: Numbers, runs: Sequence[Run]) -> Numbers:
    """Return the least cost in each run at each lag: a frame that is shown for longer is right when one of them is."""
    found = np.full((len(runs), costs.shape[1]), np.nan)
    for row, run in enumerate(runs):
        part = costs[run.start : run.stop]
        known = ~np.isnan(part).all(axis=0)
        found[row, known] = np.nanmin(part[:, known], axis=0)
    return found


def best_rows(costs: Numbers) -> list[int]:
    """Return the third of the rows (at least three) that fit best at their best lag and know every lag."""
    known = np.flatnonzero(~np.isnan(costs).any(axis=1))
    order = known[np.argsort(costs[known].min(axis=1), kind="stable")]
    return sorted(int(i) for i in order[: max(3, len(order) // _BEST_PART)])


def constant_lag(whole: Numbers, half: Numbers, rows: Sequence[int]) -> Lag:
    """Return the offset in time that fits ``rows`` best; zero unless it fits much better, in nearly all of them."""
    reach = whole.shape[1] // 2
    lags = np.concatenate([np.arange(-reach, reach + 1), np.arange(-reach, reach) + 0.5])
    table = np.concatenate([whole, half], axis=1)[list(rows)]
    means = table.mean(axis=0)
    zero = reach
    best = int(np.argmin(means))
    agreement = float(np.mean(table[:, best] < table[:, zero]))
    opposite = means[int(np.flatnonzero(lags == -lags[best])[0])]
    real = (
        means[best] < _LAG_GAIN * means[zero]
        and means[best] < _LAG_GAIN * opposite
        and means[zero] - means[best] > STILL_LEVELS**2
        and agreement >= _AGREEMENT
    )
    chosen = best if real else zero
    return Lag(float(lags[chosen]), float(means[zero]), float(means[chosen]), agreement)


def lag_path(costs: Numbers, motion: Numbers) -> list[int]:
    """Return the lag of every run on the cheapest path; a change of the lag costs as much as 2.5 frames that fit badly.

    Frames that fit no GT frame well (blends of distant frames) say little and count little.

    Args:
        costs: of :func:`over_runs`, at whole lags.
        motion: mean square change of GT at every run: how much a lag of one frame costs; infinite where GT is still.
    """
    reach = costs.shape[1] // 2
    least = np.nanmin(costs, axis=1, keepdims=True)
    excess = np.clip((costs - least) / motion[:, None], 0.0, 1.0)
    misfit = (least - np.percentile(least, 10)) / (_FITTING * motion[:, None])
    excess = np.where(np.isnan(costs), _UNKNOWN, excess * np.clip(1.0 - misfit, 0.0, 1.0))
    total = excess[0] + 0.01 * np.abs(np.arange(-reach, reach + 1))  # of equal lags, the smallest
    back = np.zeros(costs.shape, np.int64)
    for row in range(1, len(costs)):
        cheapest = int(np.argmin(total))
        switch = total[cheapest] + _SWITCH < total
        back[row] = np.where(switch, cheapest, np.arange(len(total)))
        total = np.where(switch, total[cheapest] + _SWITCH, total) + excess[row]
    path = [int(np.argmin(total))]
    for row in range(len(costs) - 1, 0, -1):
        path.append(int(back[row, path[-1]]))
    return [column - reach for column in reversed(path)]


def jumps_of(path: Sequence[int], runs: Sequence[Run]) -> list[Jump]:
    """Return where the lag changes along ``path``."""
    return [
        Jump(runs[row].start, after - before)
        for row, (before, after) in enumerate(itertools.pairwise(path), 1)
        if after != before
    ]


def _square(a: Plane, b: Plane) -> float:
    difference = (a - b).ravel()
    return float(difference @ difference) / difference.size
