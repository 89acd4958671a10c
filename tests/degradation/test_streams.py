"""Streams of random numbers: fixed by their names, frozen, and distributed as they say."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import scipy.stats

from stvsr_bench.degradation.streams import GENERATOR, Stream, stream_key

_MASK = (1 << 64) - 1


FROZEN: list[Any] = [
    0.8143516052606536,
    957,
    "c",
    [-2.07368540763855, 0.3252430260181427, -0.15456561744213104],
    [2, 4, 56, 5048],
]


def _philox(key: int, block: int) -> list[int]:
    """Four words of Philox-4x64-10 (Salmon et al. 2011), written from the paper."""
    counter, keys = [block, 0, 0, 0], [key & _MASK, key >> 64]
    for _ in range(10):
        first, second = counter[0] * 0xD2E7470EE14C6C93, counter[2] * 0xCA5A826395121157
        counter = [
            (second >> 64) ^ counter[1] ^ keys[0],
            second & _MASK,
            (first >> 64) ^ counter[3] ^ keys[1],
            first & _MASK,
        ]
        keys = [(keys[0] + 0x9E3779B97F4A7C15) & _MASK, (keys[1] + 0xBB67AE8584CAA73B) & _MASK]
    return counter


def test_numbers_are_those_of_philox_from_the_paper() -> None:
    key = stream_key("dove@1", 0, "vid4", "calendar", "blur1", 3)
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "little")
    # numpy counts up before it makes a block
    words = [word for block in (1, 2) for word in _philox(number, block)]
    stream = Stream(key)
    assert [stream.unit() for _ in words] == [(word >> 11) / 2**53 for word in words]


def test_numbers_are_frozen() -> None:
    """What moves one of these makes other LQ sets: it needs another generator id and new versions."""
    assert GENERATOR == "philox4x64+numpy-legacy@1"
    stream = Stream("frozen")
    assert [stream.uniform(-1, 1), stream.integer(0, 999), stream.choice("abc", [1, 1, 2])] == FROZEN[:3]
    assert Stream("frozen").normal((3,)).tolist() == pytest.approx(FROZEN[3], rel=1e-7)
    assert Stream("frozen").poisson(np.array([0.5, 5.0, 50.0, 5000.0])).tolist() == FROZEN[4]


def test_equal_keys_give_equal_numbers_and_others_do_not() -> None:
    def draws(key: str) -> list[float]:
        stream = Stream(key)
        return [stream.unit() for _ in range(4)]

    keys = [
        stream_key("a@1", seed, "d", clip, "s", t) for seed in (0, 1) for clip in ("x", "y") for t in (0, 1, "clip")
    ]
    assert [draws(k) for k in keys] == [draws(k) for k in keys]
    assert len({tuple(draws(k)) for k in keys}) == len(keys)
    assert stream_key("a", "b,c") != stream_key("a,b", "c")
    assert stream_key("d", 1) != stream_key("d", "1")


def test_reversed_bounds_are_legal_and_bounds_hold() -> None:
    stream = Stream("bounds")
    down = [stream.uniform(1.7, 1.0) for _ in range(2000)]
    assert 1.0 < min(down) < 1.01
    assert 1.69 < max(down) <= 1.7
    whole = [stream.integer(-2, 2) for _ in range(2000)]
    assert set(whole) == {-2, -1, 0, 1, 2}
    assert {stream.choice(["a", "b", "c"], [0.5, 0.5, 0.0]) for _ in range(500)} == {"a", "b"}
    assert {stream.chance(0.0) for _ in range(500)} == {False}
    assert {stream.chance(1.0) for _ in range(500)} == {True}


def test_uniform_numbers_of_many_streams_are_uniform() -> None:
    """First numbers of streams of neighbouring names: a poor hash or counter would show here."""
    units = [Stream(stream_key("u", t)).unit() for t in range(20_000)]
    assert scipy.stats.kstest(units, "uniform").pvalue > 0.001
    assert abs(np.corrcoef(units[:-1], units[1:])[0, 1]) < 0.03


def test_fields_have_the_moments_of_their_distributions() -> None:
    normal = Stream("n").normal((200, 200, 3))
    assert normal.dtype == np.float32
    assert abs(float(normal.mean())) < 0.01
    assert abs(float(normal.var()) - 1) < 0.02
    assert scipy.stats.kstest(normal.ravel()[:20_000], "norm").pvalue > 0.001
    for mean in (0.3, 7.0, 300.0):
        counts = Stream("p").poisson(np.full((300, 300), mean))
        assert abs(counts.mean() - mean) < 5 * (mean / 90_000) ** 0.5
        assert abs(counts.var() / mean - 1) < 0.03


def test_weights_are_probabilities() -> None:
    stream, weights = Stream("w"), [0.405, 0.225, 0.27, 0.1]
    drawn = [stream.choice("abcd", weights) for _ in range(20_000)]
    counts = [drawn.count(letter) for letter in "abcd"]
    assert scipy.stats.chisquare(counts, [20_000 * w for w in weights]).pvalue > 0.001
