"""Mean and bootstrap interval over clips, equal to the last bit on every machine and numpy version."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 10_000
LEVEL = Fraction(95, 100)
_BLOCK = 1 << 20


def mean(values: Sequence[float]) -> float:
    """Return the mean; the sum is exact, so that the order of ``values`` does not matter.

    Raises:
        ValueError: ``values`` is empty.

    >>> mean([1e16, 1.0, -1e16, 3.0])
    1.0
    """
    if not values:
        raise ValueError("the mean of no values")
    return math.fsum(values) / len(values)


def bootstrap_interval(values: Sequence[float], name: str) -> tuple[float, float] | None:
    """Return the 95 % percentile bootstrap interval of the mean over clips.

    Clips are resampled, never frames: neighbouring frames are far from independent. Draws come from the raw output of
    Philox4x64-10 and become indices here, sums are integers: no sampling routine and no order of additions that a
    library may change (NumPy promises only the raw stream, NEP 19) can move a bit.

    Args:
        values: one finite number per clip, in an order that the caller keeps fixed (sorted by clip name).
        name: what the interval is for; it seeds the draws.

    Returns:
        Lower and upper end in the unit of ``values``; ``None`` for fewer than two clips.

    Source:
        Efron & Tibshirani, An Introduction to the Bootstrap, section 13.3; ends interpolated linearly.

    >>> bootstrap_interval([3.0, 3.0], "any")
    (3.0, 3.0)
    """
    import numpy as np

    n = len(values)
    if n < 2:
        return None
    quantum = _quantum(values)
    integers = np.array([round(Fraction(v) / quantum) for v in values], dtype=np.int64)
    bits = np.random.Philox(key=_key(name))
    step = max(1, _BLOCK // n)
    sums: list[NDArray[np.int64]] = []
    for start in range(0, RESAMPLES, step):
        count = min(step, RESAMPLES - start)
        indices = draw_indices(bits, count * n, n).reshape(count, n)
        sums.append(integers[indices].sum(axis=1, dtype=np.int64))
    ordered = np.sort(np.concatenate(sums))
    tail = (1 - LEVEL) / 2
    low, high = (float(_percentile(ordered, q) * quantum / n) for q in (tail, 1 - tail))
    return low, high


def draw_indices(bits: np.random.Philox, count: int, n: int) -> NDArray[np.int64]:
    """Return ``count`` indices in ``0 … n - 1`` from raw 64-bit draws: the upper 32 bits times ``n``, shifted.

    The bias is below n / 2³², far below what ten thousand resamples resolve.
    """
    import numpy as np

    raw = bits.random_raw(count) >> np.uint64(32)
    return ((raw * np.uint64(n)) >> np.uint64(32)).astype(np.int64)


def _key(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big")


def _quantum(values: Sequence[float]) -> Fraction:
    """Return the power of two whose integer multiples hold every value while a sum of n of them fits 63 bits."""
    exponent = math.frexp(max(abs(v) for v in values))[1]
    return Fraction(2) ** (exponent - 62 + len(values).bit_length())


def _percentile(ordered: NDArray[np.int64], q: Fraction) -> Fraction:
    position = q * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    low, high = int(ordered[below]), int(ordered[above])
    return low + (position - below) * (high - low)
