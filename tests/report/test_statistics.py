from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest

from stvsr_bench.report.statistics import RESAMPLES, bootstrap_interval, draw_indices, mean


def test_mean_does_not_depend_on_the_order():
    values = [1e16, 1.0, -1e16, 3.5, 0.1]
    expected = mean(values)
    assert expected == (1e16 + (-1e16) + 1.0 + 3.5 + 0.1) / 5
    assert {mean(random.Random(i).sample(values, 5)) for i in range(20)} == {expected}


def test_no_values_have_no_mean():
    with pytest.raises(ValueError, match="no values"):
        mean([])


def test_one_clip_has_no_interval():
    assert bootstrap_interval([25.0], "x") is None
    assert bootstrap_interval([], "x") is None


def test_against_a_plain_computation():
    """The definition, written once more in exact fractions and plain loops over the same draws."""
    import hashlib

    values = [20.5, 25.125, 23.53125, 26.0625]
    key = int.from_bytes(hashlib.sha256(b"plain").digest()[:16], "big")
    raw = [int(r) for r in np.random.Philox(key=key).random_raw(4 * RESAMPLES)]
    picks = [(r >> 32) * 4 >> 32 for r in raw]
    means = sorted(sum(Fraction(values[i]) for i in picks[4 * k : 4 * k + 4]) / 4 for k in range(RESAMPLES))
    ends = []
    for q in (Fraction(25, 1000), Fraction(975, 1000)):
        position = q * (RESAMPLES - 1)
        below = int(position)
        ends.append(float(means[below] + (position - below) * (means[below + 1] - means[below])))
    assert bootstrap_interval(values, "plain") == tuple(ends)


def test_fixed_numbers():
    """Bytes of published tables hang on these: they must never change, on any machine or numpy."""
    got = bootstrap_interval([20.5001, 25.1203, 23.5327, 26.0583], "demo")
    assert got == (21.65515, 25.5893)


def test_raw_stream_is_the_published_generator():
    """Known answer of Philox4x64-10 for counter 0 and key 0, from Random123's kat_vectors."""
    raw = np.random.Philox(key=0, counter=2**256 - 1).random_raw(4)  # the counter is raised before the first block
    expected = [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    assert [hex(int(v)) for v in raw] == [hex(v) for v in expected]


def test_indices_cover_the_range_evenly():
    indices = draw_indices(np.random.Philox(key=1), 60_000, 6)
    counts = np.bincount(indices, minlength=6)
    assert len(counts) == 6
    assert np.abs(counts - 10_000).max() < 400


def test_coverage_of_a_normal_mean():
    """The interval of the mean of 40 unit normals has nearly the classical width 2 · 1.96 / √40."""
    values = np.random.Generator(np.random.PCG64(3)).standard_normal(40)
    low, high = bootstrap_interval([float(v) for v in values], "normal")
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 40**0.5, rel=0.05)


@pytest.mark.parametrize("values", [[0.0, 0.0], [-3.0, -3.0, -3.0], [1e-12, 1e-12], [1e9, 1e9]])
def test_equal_values_have_a_point(values):
    assert bootstrap_interval(values, "x") == (values[0], values[0])


def test_many_clips_and_extreme_values_do_not_overflow():
    values = [1e12 if i % 2 else -1e12 for i in range(1500)]
    low, high = bootstrap_interval(values, "x")
    assert -1e12 < low < 0 < high < 1e12
