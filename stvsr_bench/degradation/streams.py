"""Random numbers that depend on a name alone: counter-based streams, one per thing that is drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from stvsr_bench.core.hashing import canonical_json

GENERATOR = "philox4x64+numpy-legacy@1"
"""Names in recipes how their numbers were drawn. Raised by any change below that moves a number."""

_Item = TypeVar("_Item")


def stream_key(*parts: str | int) -> str:
    """Return the text that names a stream: the parts as JSON, so that no two lists of parts give one text.

    >>> stream_key("dove@1", 0, "vid4", "calendar"), stream_key("a", "b,c") == stream_key("a,b", "c")
    ('["dove@1",0,"vid4","calendar"]', False)
    """
    return canonical_json(list(parts))


class Stream:
    """A stream of random numbers that its key fixes: equal keys give equal numbers in every process and order.

    The bits come from Philox-4x64-10 with the first 128 bits of the key's sha256 as key and counter 0. Single numbers
    are made from its raw 64-bit words by the arithmetic written here; fields of noise by numpy's legacy
    ``RandomState``. numpy promises that both stay as they are (NEP 19), which it does not promise of
    ``numpy.random.Generator``.

    Args:
        key: any text, for instance from :func:`stream_key`.

    >>> Stream("a").uniform(0, 1) == Stream("a").uniform(0, 1) != Stream("b").uniform(0, 1)
    True
    """

    def __init__(self, key: str) -> None:
        self.key = key
        number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "little")
        self._bits = np.random.Philox(key=number)

    def unit(self) -> float:
        """Return a number in [0, 1) on a grid of 2⁻⁵³, from one raw word."""
        return (int(self._bits.random_raw()) >> 11) * 2.0**-53

    def uniform(self, low: float, high: float) -> float:
        """Return ``low + (high - low) · u`` with u in [0, 1); ``high`` may lie below ``low``, as in legacy numpy."""
        return low + (high - low) * self.unit()

    def chance(self, probability: float) -> bool:
        """Return whether something of this probability happens; takes one number even where it is 0 or 1."""
        return self.unit() < probability

    def integer(self, low: int, high: int) -> int:
        """Return a whole number of ``low … high``, both included."""
        return low + int(self.unit() * (high - low + 1))

    def choice(self, items: Sequence[_Item], weights: Sequence[float] | None = None) -> _Item:
        """Return one of ``items`` with probabilities in proportion to ``weights``; equal ones by default."""
        if weights is None:
            return items[int(self.unit() * len(items))]
        mark = self.unit() * sum(weights)
        for item, weight in zip(items, weights, strict=True):
            mark -= weight
            if mark < 0:
                return item
        # round-off of the sums can leave a mark of about 1e-17: it belongs to the last item that can be drawn at all
        return [item for item, weight in zip(items, weights, strict=True) if weight > 0][-1]

    def normal(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return a field of independent normal numbers of mean 0 and variance 1, float32 of ``shape``."""
        return self._fields.standard_normal(shape).astype(np.float32)

    def poisson(self, mean: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return a field of independent Poisson counts, whole numbers of ``mean``'s shape.

        Args:
            mean: expected counts, 0 or more.
        """
        return np.asarray(self._fields.poisson(mean), dtype=np.int64)

    @cached_property
    def _fields(self) -> np.random.RandomState:
        return np.random.RandomState(self._bits)
