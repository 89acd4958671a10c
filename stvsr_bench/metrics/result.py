"""What a metric returns for one clip, and how a subset of the frames is read from it; imports no torch."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple


@dataclass(frozen=True)
class Excluded:
    """A frame or pair without a finite value.

    Attributes:
        index: number of the frame, of the first frame for a pair.
        reason: why it has no value.
    """

    index: int
    reason: str


class Mean(NamedTuple):
    """A mean over frames or pairs, with what it is a mean of."""

    value: float | None
    n: int
    reason: str | None


@dataclass(frozen=True)
class MetricResult:
    """One metric's result for one clip.

    Attributes:
        level: whether values belong to frames, to pairs of consecutive frames, or to the whole clip.
        values: one per frame or pair, ``None`` where it is not finite.
        index: the frames' numbers in the output clip; for pairs the first frame's, the second is the next number.
        value: mean of the finite values, or ``None``.
        n: how many values the mean has.
        reason: why ``value`` is ``None``; else ``None``.
        excluded: what has no finite value, and why.
    """

    level: Literal["frame", "pair", "clip"]
    values: tuple[float | None, ...]
    index: tuple[int, ...]
    value: float | None
    n: int
    reason: str | None
    excluded: tuple[Excluded, ...] = ()


def finite_mean(values: Sequence[float | None], excluded: Sequence[Excluded] = ()) -> Mean:
    """Mean of the values that are not ``None``, exactly summed, so that the order does not matter.

    >>> finite_mean([1.0, None, 2.0])
    Mean(value=1.5, n=2, reason=None)
    >>> finite_mean([])
    Mean(value=None, n=0, reason='no frames')
    """
    finite = [v for v in values if v is not None]
    if finite:
        return Mean(math.fsum(finite) / len(finite), len(finite), None)
    if excluded:
        return Mean(None, 0, "; ".join(sorted({e.reason for e in excluded})))
    return Mean(None, 0, "no frames")


def subset(result: MetricResult, frames: Collection[int]) -> Mean:
    """Mean over the frames whose number is in ``frames``, for instance the key frames or the interpolated ones.

    A pair belongs to the subset where both its frames do; at φt = 2 no pair does, and the mean is null and says so.

    Args:
        result: a clip's result.
        frames: numbers of the output frames of the subset.

    Returns:
        ``(value, n, reason)``; ``value`` is ``None`` where nothing is left to average, and ``reason`` says why.
    """
    if not result.values:
        return Mean(None, 0, result.reason)
    if result.level == "clip":
        return Mean(None, 0, "one value for the whole clip, none for a part of it")
    wanted = frozenset(frames)
    pairs = result.level == "pair"
    inside = [i for i in result.index if i in wanted and (not pairs or i + 1 in wanted)]
    empty = "no pair of consecutive frames lies in this subset" if pairs else "no frame in this subset"
    return _mean_at(result, inside, empty)


def views(result: MetricResult, key_frames: Collection[int]) -> dict[str, Mean]:
    """The mean over each kind of frame or pair that space-time super-resolution tells apart.

    Args:
        result: a clip's result.
        key_frames: numbers of the output frames that have an LQ frame at their time.

    Returns:
        ``key`` and ``interpolated``: frames, or pairs whose frames are both of that kind. For frames also
        ``distance N``: interpolated frames N frames from the nearest key frame. For pairs also ``crossing``: one frame
        of either kind, where flicker between restored and invented frames shows.

    >>> result = MetricResult("pair", (1.0, 2.0, 4.0, 8.0), (0, 1, 2, 3), 3.75, 4, None)
    >>> [(name, mean.value) for name, mean in views(result, (0, 3)).items()]
    [('key', None), ('interpolated', 2.0), ('crossing', 4.333333333333333)]
    """
    keys = sorted(key_frames)
    known = frozenset(keys)
    found = {"key": subset(result, known), "interpolated": subset(result, _others(result, known))}
    if result.level == "frame":
        distances = {i: _distance(i, keys) for i in result.index if i not in known}
        for distance in sorted({d for d in distances.values() if d is not None}):
            found[f"distance {distance}"] = subset(result, [i for i, d in distances.items() if d == distance])
    elif result.level == "pair":
        inside = [i for i in result.index if (i in known) != (i + 1 in known)]
        found["crossing"] = _mean_at(result, inside, "no pair joins a key frame and an interpolated one")
    return found


def _others(result: MetricResult, known: frozenset[int]) -> list[int]:
    frames = {*result.index, *(i + 1 for i in result.index if result.level == "pair")}
    return [i for i in frames if i not in known]


def _distance(frame: int, keys: Sequence[int]) -> int | None:
    place = bisect_left(keys, frame)
    return min((abs(frame - key) for key in keys[max(0, place - 1) : place + 1]), default=None)


def _mean_at(result: MetricResult, inside: Collection[int], empty: str) -> Mean:
    """Mean of the values whose index is in ``inside``."""
    if not result.values:
        return Mean(None, 0, result.reason)
    if not inside:
        return Mean(None, 0, empty)
    wanted = frozenset(inside)
    return finite_mean(
        [v for i, v in zip(result.index, result.values, strict=True) if i in wanted],
        [e for e in result.excluded if e.index in wanted],
    )
