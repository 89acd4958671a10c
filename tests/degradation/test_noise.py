"""Noise against theory: means, variances, gray fields, both Poisson domains."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stvsr_bench.core.errors import ConfigError, DataError
from stvsr_bench.degradation.noise import gaussian, poisson
from stvsr_bench.degradation.streams import Stream

SIDE = 256
SAMPLES = SIDE * SIDE * 3


def ramp() -> np.ndarray:
    """All 256 levels, each on one row, the same in R, G and B."""
    return np.repeat(np.arange(256, dtype=np.float32), SIDE * 3).reshape(256, SIDE, 3)


def spread(variance: float, count: int) -> float:
    """Five standard errors of a sample variance (of a Gaussian; Poisson counts here are large enough to be near)."""
    return 5 * variance * math.sqrt(2 / count)


@pytest.mark.parametrize("sigma", [1.0, 7.5, 30.0])
@pytest.mark.parametrize("gray", [False, True])
def test_gaussian_has_mean_zero_and_variance_sigma_squared(sigma: float, gray: bool) -> None:
    frame = np.full((SIDE, SIDE, 3), 120.5, np.float32)
    noise = (gaussian(frame, sigma, gray, Stream("g")) - frame).astype(np.float64)
    independent = SAMPLES // 3 if gray else SAMPLES
    assert abs(noise.mean()) < 5 * sigma / math.sqrt(independent)
    assert abs(noise.var() - sigma**2) < spread(sigma**2, independent)
    # fourth moment 3σ⁴: the tails are Gaussian too
    assert (noise**4).mean() == pytest.approx(3 * sigma**4, rel=0.06)


@pytest.mark.parametrize("level", [0.0, 128.0, 255.0])
def test_nothing_is_clipped(level: float) -> None:
    frame = np.full((SIDE, SIDE, 3), level, np.float32)
    noisy = gaussian(frame, 20.0, False, Stream("c"))
    assert noisy.min() < level - 60
    assert noisy.max() > level + 60


def test_gray_noise_is_the_same_in_all_channels_and_colour_noise_is_not() -> None:
    frame = np.random.default_rng(0).uniform(40, 200, (SIDE, SIDE, 3)).astype(np.float32)
    for noisy in (gaussian(frame, 9.0, True, Stream("a")), poisson(frame, 2.0, True, "unit", Stream("a"))):
        noise = noisy - frame
        assert np.abs(noise[:, :, 0] - noise[:, :, 1]).max() < 1e-4
        assert np.abs(noise[:, :, 0] - noise[:, :, 2]).max() < 1e-4
        assert noise.std() > 5
    for noisy in (gaussian(frame, 9.0, False, Stream("a")), poisson(frame, 2.0, False, "unit", Stream("a"))):
        noise = noisy - frame
        for one, two in [(0, 1), (0, 2), (1, 2)]:
            correlation = np.corrcoef(noise[:, :, one].ravel(), noise[:, :, two].ravel())[0, 1]
            assert abs(correlation) < 5 / SIDE


@pytest.mark.parametrize(("domain", "unit"), [("unit", 255.0), ("byte", 1.0)])
@pytest.mark.parametrize("scale", [0.05, 1.0, 3.0])
def test_poisson_variance_is_proportional_to_the_level(domain: str, unit: float, scale: float) -> None:
    frame = ramp()
    noise = (poisson(frame, scale, False, domain, Stream("p")) - frame).astype(np.float64)
    # 256 different values: v = 256, var = scale² · unit · b / 256 in grey levels
    theory = scale**2 * unit * np.arange(256) / 256
    assert np.array_equal(noise[0], np.zeros((SIDE, 3)))
    for low in range(1, 256, 51):
        rows = slice(low, low + 51)
        expected = float(theory[rows].mean())
        assert abs(noise[rows].mean()) < 5 * math.sqrt(expected / noise[rows].size)
        assert abs((noise[rows] ** 2).mean() - expected) < 1.2 * spread(expected, noise[rows].size)


def test_the_two_domains_differ_by_the_square_root_of_255() -> None:
    # the figures of the two published code lines at level 128 and scale 3: 34 and 2.1 grey levels
    frame = ramp()
    frame[100:156] = 128  # leaves 201 different values, so that v stays 256
    for domain, expected in [("unit", 33.87), ("byte", 2.121)]:
        noise = (poisson(frame, 3.0, False, domain, Stream("d")) - frame)[100:156]
        assert noise.std() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(("different", "levels"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (130, 256)])
def test_the_number_of_different_values_sets_the_counts(different: int, levels: int) -> None:
    # values 100 … 100+different-1; the variance shows v
    frame = np.resize(np.arange(100, 100 + different, dtype=np.float32), (SIDE, SIDE, 3))
    noise = (poisson(frame, 1.0, False, "byte", Stream("v")) - frame).astype(np.float64)
    expected = float(frame.mean()) / levels
    assert abs((noise**2).mean() - expected) < 1.2 * spread(expected, SAMPLES)


def test_the_base_is_rounded_and_clipped_but_the_frame_is_not() -> None:
    low, high = np.full((64, 64, 3), -7.25, np.float32), np.full((64, 64, 3), 300.5, np.float32)
    # below 0 the base is 0, where Poisson noise is 0
    assert np.array_equal(poisson(low, 3.0, False, "byte", Stream("b")), low)
    noisy = poisson(high, 1.0, False, "byte", Stream("b"))
    noise = (noisy - high).astype(np.float64)
    assert abs(noise.mean()) < 5 * math.sqrt(255 / noise.size)
    assert abs((noise**2).mean() - 255) < spread(255, noise.size)
    # one value 99.6 → base 100, v = 1: counts are whole, so that noise + base is whole
    counts = poisson(np.full((64, 64, 3), 99.6, np.float32), 1.0, False, "byte", Stream("r")) - np.float32(99.6) + 100
    assert np.abs(counts - np.rint(counts)).max() < 1e-3


def test_gray_poisson_follows_the_luma() -> None:
    frame = np.zeros((SIDE, SIDE, 3), np.float32)
    frame[:, :, 2] = 200  # blue: luma 0.114 · 200 = 22.8 → 23; taken for red it would be 60
    noise = (poisson(frame, 1.0, True, "byte", Stream("l")) - frame)[:, :, 0].astype(np.float64)
    assert abs(noise.var() - 23) < 1.2 * spread(23, noise.size)


def test_the_stream_alone_fixes_the_field() -> None:
    frame = ramp()
    for make in (
        lambda s: gaussian(frame, 5.0, False, s),
        lambda s: poisson(frame, 1.0, True, "byte", s),
    ):
        first = make(Stream("same"))
        assert first.dtype == np.float32
        assert np.array_equal(first, make(Stream("same")))
        assert not np.array_equal(first, make(Stream("other")))


def test_bytes_are_taken_as_their_grey_levels() -> None:
    frame = np.random.default_rng(3).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    for domain in ("unit", "byte"):
        assert np.array_equal(
            poisson(frame, 1.0, False, domain, Stream("u")),
            poisson(frame.astype(np.float32), 1.0, False, domain, Stream("u")),
        )
    assert np.array_equal(
        gaussian(frame, 1.0, True, Stream("u")), gaussian(frame.astype(np.float32), 1.0, True, Stream("u"))
    )


def test_wrong_options_are_refused() -> None:
    frame = ramp()
    with pytest.raises(ConfigError, match=r"sigma; got -1\.0"):
        gaussian(frame, -1.0, False, Stream("x"))
    with pytest.raises(ConfigError, match="scale; got nan"):
        poisson(frame, math.nan, False, "unit", Stream("x"))
    with pytest.raises(ConfigError, match="domain; got 'bytes'; accepted: unit, byte"):
        poisson(frame, 1.0, False, "bytes", Stream("x"))
    with pytest.raises(DataError, match="gaussian noise: not a frame"):
        gaussian(frame[:, :, 0], 1.0, False, Stream("x"))
