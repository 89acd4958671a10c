"""Resizing against its definition in plain arithmetic, for both backends."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch

from stvsr_bench.core.errors import ConfigError, DataError
from stvsr_bench.degradation.resample import INTERPOLATIONS, resize, scaled_size


def noisy(height: int = 24, width: int = 36, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, (height, width, 3)).astype(np.float32)


def tap(kind: str, distance: float) -> float:
    d = abs(distance)
    if kind == "bilinear":
        return max(1 - d, 0)
    a = -0.75
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0


def matrix(length: int, out: int, kind: str, ratio: float | None = None) -> np.ndarray:
    """Weights of one dimension: pixel centres on pixel centres, the edge repeated, no antialiasing."""
    ratio = length / out if ratio is None else ratio
    weights = np.zeros((out, length))
    for i in range(out):
        at = (i + 0.5) * ratio - 0.5
        if kind == "area":  # exact overlap of intervals
            for k in range(length):
                weights[i, k] = max(min(k + 1, (i + 1) * ratio) - max(k, i * ratio), 0) / ratio
            continue
        for k in range(math.floor(at) - 1, math.floor(at) + 3):
            weights[i, min(max(k, 0), length - 1)] += tap(kind, at - k)
    return weights


def whole_area(length: int, out: int) -> np.ndarray:
    """Weights of PyTorch's ``area``: the mean of all samples that the interval touches."""
    weights = np.zeros((out, length))
    for i in range(out):
        start, stop = math.floor(i * length / out), math.ceil((i + 1) * length / out)
        weights[i, start:stop] = 1 / (stop - start)
    return weights


@pytest.mark.parametrize("size", [(8, 9), (17, 31), (30, 50), (24, 36)])
@pytest.mark.parametrize("backend", ["cv2", "torch"])
@pytest.mark.parametrize("kind", INTERPOLATIONS)
def test_values_follow_the_definition(kind: str, backend: str, size: tuple[int, int]) -> None:
    frame = noisy()
    if backend == "cv2" and kind == "area":  # reducing only: enlarging is tested below
        size = min(size[0], 24), min(size[1], 36)
    if kind == "area" and backend == "torch":
        rows, columns = whole_area(24, size[0]), whole_area(36, size[1])
    else:
        rows, columns = matrix(24, size[0], kind), matrix(36, size[1], kind)
    want = np.einsum("ih,jw,hwc->ijc", rows, columns, frame.astype(np.float64))
    got = resize(frame, size, kind, backend)
    assert got.shape == (*size, 3)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, atol=0.01)


def test_area_enlarges_between_the_two_neighbours() -> None:
    frame = noisy()
    got = resize(frame, (30, 50), "area", "cv2")
    assert got.min() >= frame.min()
    assert got.max() <= frame.max()
    assert not np.allclose(got, resize(frame, (30, 50), "area", "torch"), atol=1)


@pytest.mark.parametrize("kind", INTERPOLATIONS)
@pytest.mark.parametrize("scale", [0.15, 0.37, 0.5, 0.9999, 1.0, 1.4321])
def test_the_torch_backend_gives_pytorchs_values(kind: str, scale: float) -> None:
    frame = noisy(90, 123)
    size = scaled_size((90, 123), scale)
    planes = torch.from_numpy(frame).permute(2, 0, 1)[None]
    align = None if kind == "area" else False
    for factor in (None, scale):
        want = torch.nn.functional.interpolate(
            planes, size=None if factor else size, scale_factor=factor, mode=kind, align_corners=align
        )
        got = resize(frame, size, kind, "torch", scale=factor)
        assert got.flags.c_contiguous
        np.testing.assert_allclose(got, want[0].permute(1, 2, 0).numpy(), atol=0.03)


@pytest.mark.parametrize("kind", ["bilinear", "bicubic"])
def test_a_scale_moves_positions_by_exactly_its_inverse(kind: str) -> None:
    frame = noisy()
    scale = 0.37
    size = scaled_size((24, 36), scale)
    assert size == (8, 13)
    want = np.einsum(
        "ih,jw,hwc->ijc",
        matrix(24, 8, kind, 1 / scale),
        matrix(36, 13, kind, 1 / scale),
        frame.astype(np.float64),
    )
    got = resize(frame, size, kind, "torch", scale=scale)
    np.testing.assert_allclose(got, want, atol=0.01)
    assert np.abs(got - resize(frame, size, kind, "torch")).max() > 1


def test_scaled_size_is_pytorchs() -> None:
    for height, width, scale in [(480, 720, 0.15), (480, 720, 1.4999), (33, 47, 0.7), (9, 10, 0.3)]:
        done = torch.nn.functional.interpolate(torch.zeros(1, 1, height, width), scale_factor=scale)
        assert scaled_size((height, width), scale) == tuple(done.shape[2:])


def test_bytes_stay_bytes_in_opencv_and_become_float_in_pytorch() -> None:
    frame = noisy().astype(np.uint8)
    small = resize(frame, (9, 13), "bicubic")
    assert small.dtype == np.uint8
    exact = resize(frame.astype(np.float32), (9, 13), "bicubic")
    assert exact.max() > 255
    assert np.abs(small - np.clip(exact, 0, 255)).max() < 1.5
    assert resize(frame, (9, 13), "bicubic", "torch").dtype == np.float32


@pytest.mark.parametrize("backend", ["cv2", "torch"])
@pytest.mark.parametrize("kind", INTERPOLATIONS)
def test_the_result_does_not_depend_on_threads(kind: str, backend: str) -> None:
    frame = noisy(300, 400)
    before = cv2.getNumThreads(), torch.get_num_threads()
    results = []
    try:
        for count in (1, 3):
            cv2.setNumThreads(count)
            torch.set_num_threads(count)
            results += [resize(frame, size, kind, backend) for size in [(123, 177), (411, 555)]]
    finally:
        cv2.setNumThreads(before[0])
        torch.set_num_threads(before[1])
    assert np.array_equal(results[0], results[2])
    assert np.array_equal(results[1], results[3])


def test_the_frame_is_left_alone() -> None:
    frame = noisy()
    copy = frame.copy()
    for backend in ("cv2", "torch"):
        same = resize(frame, (24, 36), "bilinear", backend)
        same += 1  # the result is a copy even at the same size
    assert np.array_equal(frame, copy)


def test_wrong_options_are_refused() -> None:
    frame = noisy()
    with pytest.raises(ConfigError, match="interpolation; got 'lanczos'; accepted: bilinear, area, bicubic"):
        resize(frame, (4, 4), "lanczos")
    with pytest.raises(ConfigError, match="backend; got 'pil'"):
        resize(frame, (4, 4), "area", "pil")
    with pytest.raises(ConfigError, match="would be empty; got 36×24 to 4×0"):
        resize(frame, (0, 4), "area")
    with pytest.raises(ConfigError, match="scale with backend 'cv2'"):
        resize(frame, (12, 18), "area", scale=0.5)
    with pytest.raises(ConfigError, match=r"do not fit; got 36×24 to 19×12 by 0\.5"):
        resize(frame, (12, 19), "area", "torch", scale=0.5)
    with pytest.raises(DataError, match="resize: not a frame"):
        resize(frame[0], (4, 4), "area")
