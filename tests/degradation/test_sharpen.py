"""Unsharp masking against its definition in plain arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from stvsr_bench.core.errors import ConfigError, DataError
from stvsr_bench.degradation.sharpen import unsharp_mask


def blurred(image: np.ndarray, side: int) -> np.ndarray:
    sigma = 0.3 * ((side - 1) * 0.5 - 1) + 0.8
    offsets = np.arange(side) - side // 2
    taps = np.exp(-(offsets**2) / (2 * sigma**2))
    taps /= taps.sum()
    reach = side // 2
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    rows = sum(taps[k] * padded[k : k + image.shape[0]] for k in range(side))
    return np.asarray(sum(taps[k] * rows[:, k : k + image.shape[1]] for k in range(side)))


@pytest.mark.parametrize(
    ("radius", "side", "weight", "threshold"),
    [(50, 51, 0.5, 10.0), (51, 51, 0.5, 10.0), (8, 9, 1.5, 4.0), (20, 21, 0.5, 0.0)],
)
def test_values_follow_the_definition(radius: int, side: int, weight: float, threshold: float) -> None:
    frame = np.random.default_rng(0).uniform(0, 255, (70, 80, 3)).astype(np.float32)
    frame[20:50, 20:60] *= 0.1
    image = frame.astype(np.float64)
    residue = image - blurred(image, side)
    soft = blurred((np.abs(residue) > threshold).astype(np.float64), side)
    sharp = np.clip(image + weight * residue, 0, 255)
    want = soft * sharp + (1 - soft) * image
    got = unsharp_mask(frame, radius, weight, threshold)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, atol=0.01)
    assert got.min() > -1e-3
    assert got.max() < 255 + 1e-3


def test_flat_frames_and_small_detail_stay() -> None:
    flat = np.full((60, 60, 3), 77, np.uint8)
    assert np.array_equal(unsharp_mask(flat), flat.astype(np.float32))
    faint = 100 + 9 * np.random.default_rng(1).uniform(0, 1, (60, 60, 3)).astype(np.float32)
    assert np.array_equal(unsharp_mask(faint), faint)
    assert not np.array_equal(unsharp_mask(faint, threshold=1), faint)


def test_edges_become_steeper() -> None:
    edge = np.full((60, 60, 3), 80, np.float32)
    edge[:, 30:] = 160
    sharp = unsharp_mask(edge)
    assert sharp[30, 29, 0] < 70
    assert sharp[30, 30, 0] > 170
    assert sharp.mean() == pytest.approx(120, abs=1)


def test_wrong_input_is_refused() -> None:
    frame = np.zeros((60, 60, 3), np.float32)
    for change in ({"radius": 0}, {"weight": -1.0}, {"threshold": float("nan")}):
        with pytest.raises(ConfigError, match="unsharp mask: parameters"):
            unsharp_mask(frame, **change)
    with pytest.raises(DataError, match="not a frame"):
        unsharp_mask(frame[0])
