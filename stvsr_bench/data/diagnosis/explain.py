"""The simplest account of where and when the output lies: shift, lag, and where frames are missing or too many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stvsr_bench.data.diagnosis.registration import Shift, find_shift
from stvsr_bench.data.diagnosis.stretch import Stretch
from stvsr_bench.data.diagnosis.timing import (
    LONGEST_LAG,
    Jump,
    Lag,
    Numbers,
    best_rows,
    constant_lag,
    jumps_of,
    lag_path,
)

SHIFT_PIXELS = 0.2
"""A constant shift from this length on is reported."""
_PAIRS = 8  # pairs of frames that a shift is estimated from
_STEADY = 4.0  # a shift must be longer than this many times the spread between frames
_CLEARER = 0.75  # shift and lag together must leave less than this part of the difference that either leaves alone
_BETTER = 0.9  # a changing lag must leave less than this part of what a constant account leaves
_RIVAL = "the scene moves so evenly that a lag and a shift look alike: part of it may be the other"
_NOWHERE = Shift(0.0, 0.0, np.inf, np.inf, np.inf)


@dataclass(frozen=True)
class Account:
    """Where and when the output lies beside the ground truth.

    Attributes:
        x: shift to the right, pixels.
        y: shift downwards, pixels.
        spread: how much single frames differ from it, pixels.
        shifted: whether the shift is real.
        lag: output frame i shows GT frame i + ``lag`` (at the start, where it changes).
        timed: whether anything is known of time: there are enough frames that differ.
        jumps: where the lag changes for good.
        rival: another account that leaves nearly as little, in words, or ``None``.
    """

    x: float
    y: float
    spread: float
    shifted: bool
    lag: float
    timed: bool
    jumps: tuple[Jump, ...]
    rival: str | None = None


def account(looks: Sequence[Stretch]) -> Account:
    """Return the account, and leave in each stretch its best rows and the lag of each row."""
    factor = looks[0].factor
    reach = min(LONGEST_LAG, (min(len(stretch) for stretch in looks) - 1) // 4)
    tables = [stretch.weigh(reach) for stretch in looks]
    whole, half = (np.concatenate(parts) for parts in zip(*tables, strict=True))
    timed = _choose(looks, whole)
    guess = _shift_at(looks, 0)
    if timed and _real(guess, factor):  # restored frames that are shifted may fit worse than blends that are not
        moved = np.concatenate([stretch.weigh(reach, guess.x, guess.y)[0] for stretch in looks])
        _choose(looks, np.minimum(whole, moved))
    lag = constant_lag(whole, half, _rows(looks)) if timed else Lag(0.0, 0.0, 0.0, 0.0)
    starts = _follow(looks, [table[0] for table in tables]) if timed else [0]
    found = _jumps(looks, starts) if timed else []
    paths = [list(stretch.lags) for stretch in looks]
    along = _mean_at_lags(looks, [table[0] for table in tables])
    shift, lag, rival = _explain(looks, lag, reach, factor)
    if found and along < _BETTER * min(shift.after, lag.at_lag):
        for stretch, path in zip(looks, paths, strict=True):
            stretch.lags = path
    elif timed:  # with the shift taken out, changes of the lag show as well as without one
        if _real(shift, factor):
            tables = [stretch.weigh(reach, shift.x, shift.y) for stretch in looks]
        starts = _follow(looks, [table[0] for table in tables])
        found = _jumps(looks, starts)
    first = lag.frames
    if found:
        first = float(starts[0])
        _choose(looks, np.concatenate([_at_lag(s, t[0]) for s, t in zip(looks, tables, strict=True)]))
        shift = _shift(looks)
    else:
        for stretch in looks:
            stretch.lags = [int(np.floor(first))] * len(stretch.runs)
    return Account(
        x=shift.x * factor,
        y=shift.y * factor,
        spread=shift.spread * factor,
        shifted=_real(shift, factor),
        lag=first,
        timed=timed,
        jumps=tuple(found),
        rival=None if found else rival,
    )


def _choose(looks: Sequence[Stretch], costs: Numbers) -> bool:
    """Leave the rows that fit best in each stretch; ``False`` where there are too few to tell lags apart."""
    rows = best_rows(costs)
    enough = costs.shape[1] > 1 and len(rows) > 1
    chosen = set(rows) if rows else set(range(len(costs)))
    first = 0
    for stretch in looks:
        stretch.best = [row for row in range(len(stretch.runs)) if first + row in chosen]
        first += len(stretch.runs)
    return enough


def _rows(looks: Sequence[Stretch]) -> list[int]:
    rows, first = [], 0
    for stretch in looks:
        rows += [first + row for row in stretch.best]
        first += len(stretch.runs)
    return rows


def _mean_at_lags(looks: Sequence[Stretch], costs: Sequence[Numbers]) -> float:
    """Return the mean cost of the best rows at their own lags."""
    found = [_at_lag(s, table)[s.best, 0] for s, table in zip(looks, costs, strict=True)]
    return float(np.nanmean(np.concatenate(found)))


def _at_lag(stretch: Stretch, costs: Numbers) -> Numbers:
    """Return the costs of each row at its own lag, as one column."""
    columns = np.asarray(stretch.lags) + costs.shape[1] // 2
    return np.asarray(costs[np.arange(len(costs)), columns][:, None])


def _follow(looks: Sequence[Stretch], costs: Sequence[Numbers]) -> list[int]:
    """Leave the cheapest path of lags in each stretch; return the lags that they begin with."""
    for stretch, table in zip(looks, costs, strict=True):
        stretch.lags = lag_path(table, stretch.motion())
    return [stretch.lags[0] for stretch in looks]


def _jumps(looks: Sequence[Stretch], starts: Sequence[int]) -> list[Jump]:
    found: list[Jump] = []
    before = starts[0]
    for stretch, start in zip(looks, starts, strict=True):
        if start != before:  # it changed between two stretches
            found.append(Jump(stretch.start, start - before))
        found += [Jump(stretch.start + jump.frame, jump.change) for jump in jumps_of(stretch.lags, stretch.runs)]
        before = stretch.lags[-1]
    return found


def _explain(looks: Sequence[Stretch], lag: Lag, reach: int, factor: int) -> tuple[Shift, Lag, str | None]:
    """Return the simplest pair of shift and lag that explains the difference, and a rival of it.

    Under a camera that moves evenly, a lag looks like a shift and the other way round; whichever leaves less is taken,
    and both together only where neither does.
    """
    still = _shift_at(looks, 0)
    if lag.frames == 0 and not _real(still, factor):
        return still, lag, None
    others = {k: _shift_at(looks, k) for k in range(-reach, reach + 1) if k} if lag.agreement else {}
    nearest = min(others, key=lambda k: others[k].after) if others else 0
    simple = min(still.after, lag.at_lag)
    if nearest and others[nearest].after < _CLEARER * simple and _real(others[nearest], factor):
        shift, chosen = others[nearest], Lag(float(nearest), lag.at_zero, others[nearest].after, lag.agreement)
    elif lag.frames and lag.at_lag <= still.after:
        nothing = Shift(0.0, 0.0, 0.0, lag.at_lag, lag.at_lag)
        shift, chosen = others.get(int(lag.frames), nothing) if lag.frames == int(lag.frames) else nothing, lag
    else:
        shift, chosen = still, Lag(0.0, lag.at_zero, still.after, 0.0)
    left = [other.after for k, other in {0: still, **others}.items() if k != chosen.frames]
    rival = _RIVAL if left and _CLEARER * min(left) < chosen.at_lag else None
    return shift, chosen, rival


def _real(shift: Shift, factor: int) -> bool:
    return shift.size * factor >= SHIFT_PIXELS and shift.size > _STEADY * shift.spread and shift.after < shift.before


def _shift_at(looks: Sequence[Stretch], lag: int) -> Shift:
    for stretch in looks:
        stretch.lags = [lag] * len(stretch.runs)
    return _shift(looks)


def _shift(looks: Sequence[Stretch]) -> Shift:
    pairs = [pair for stretch in looks for pair in stretch.bands()]
    pairs = pairs[:: max(1, len(pairs) // _PAIRS)][:_PAIRS]
    return find_shift([output for output, _ in pairs], [truth for _, truth in pairs]) if pairs else _NOWHERE
