"""Blur kernels against their formulas in plain arithmetic and against theory: sums, moments, rotation, cut-off."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest
import scipy.special

from stvsr_bench.core.errors import ConfigError, DataError
from stvsr_bench.degradation.blur import BLUR_KINDS, blur_kernel, filter2d

PARAMETERS: dict[str, Any] = {"sigma_x": 2.3, "sigma_y": 0.9, "rotation": 0.7, "beta": 1.4, "omega": 1.9}


def covariance(kernel: np.ndarray) -> np.ndarray:
    """Second central moments in the order (x, y): columns first."""
    o = np.arange(len(kernel)) - len(kernel) // 2
    x, y = o[None, :], o[:, None]
    return np.array(
        [[(kernel * x * x).sum(), (kernel * x * y).sum()], [(kernel * x * y).sum(), (kernel * y * y).sum()]]
    )


def sigma_matrix(sigma_x: float, sigma_y: float, angle: float) -> np.ndarray:
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return turn @ np.diag([sigma_x**2, sigma_y**2]) @ turn.T


def response(kernel: np.ndarray, u: float, v: float) -> float:
    """Frequency response at u, v radians per sample along columns and rows; real, since the kernels are symmetric."""
    o = np.arange(len(kernel)) - len(kernel) // 2
    return float((kernel * np.cos(u * o[None, :] + v * o[:, None])).sum())


def noisy(height: int = 24, width: int = 31, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, (height, width, 3)).astype(np.float32)


@pytest.mark.parametrize("kind", BLUR_KINDS)
@pytest.mark.parametrize("size", [1, 7, 13, 21])
def test_every_kernel_sums_to_one_and_is_symmetric_about_its_centre(kind: str, size: int) -> None:
    kernel = blur_kernel(kind, size, **PARAMETERS)
    assert kernel.shape == (size, size)
    assert kernel.dtype == np.float64
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-15)
    assert kernel.argmax() == size * size // 2
    if kind != "sinc":
        assert (kernel >= 0).all()


@pytest.mark.parametrize("kind", BLUR_KINDS)
def test_values_follow_the_formulas(kind: str) -> None:
    s = sigma_matrix(2.3, 0.9, 0.7) if kind.endswith("aniso") else np.diag([2.3**2, 2.3**2])
    inverse = np.linalg.inv(s)
    want = np.empty((9, 9))
    for row in range(9):
        for column in range(9):
            at = np.array([column - 4, row - 4])
            q = float(at @ inverse @ at)
            if kind == "sinc":
                r = math.hypot(*at)
                want[row, column] = (
                    1.9 * scipy.special.jv(1, 1.9 * r) / (2 * math.pi * r) if r else 1.9**2 / (4 * math.pi)
                )
            elif kind.startswith("plateau"):
                want[row, column] = 1 / (1 + q**1.4)
            elif kind.startswith("generalized"):
                want[row, column] = math.exp(-0.5 * q**1.4)
            else:
                want[row, column] = math.exp(-0.5 * q)
    np.testing.assert_allclose(blur_kernel(kind, 9, **PARAMETERS), want / want.sum(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("sigma", [0.8, 1.6, 3.0])
def test_second_moments_of_the_isotropic_gaussian(sigma: float) -> None:
    moments = covariance(blur_kernel("iso", 41, sigma_x=sigma, sigma_y=99.0, rotation=1.0))
    np.testing.assert_allclose(moments, np.diag([sigma**2, sigma**2]), atol=1e-3 * sigma**2)


@pytest.mark.parametrize("angle", [0.0, 0.5, math.pi / 2, 2.4, -1.1, math.pi])
def test_second_moments_and_rotation_of_the_anisotropic_gaussian(angle: float) -> None:
    moments = covariance(blur_kernel("aniso", 41, sigma_x=3.0, sigma_y=1.2, rotation=angle))
    np.testing.assert_allclose(moments, sigma_matrix(3.0, 1.2, angle), atol=1e-3)
    values, vectors = np.linalg.eigh(moments)
    np.testing.assert_allclose(np.sqrt(values), [1.2, 3.0], rtol=1e-3)
    main = vectors[:, 1]
    assert abs(main @ [math.cos(angle), math.sin(angle)]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", ["aniso", "generalized_aniso", "plateau_aniso"])
def test_a_quarter_turn_swaps_the_axes_and_a_turn_goes_from_columns_to_rows(kind: str) -> None:
    shape = {"sigma_x": 2.5, "sigma_y": 0.8, "beta": 1.3}
    upright = blur_kernel(kind, 15, rotation=0.4, **shape)
    np.testing.assert_allclose(
        blur_kernel(kind, 15, rotation=0.4 + math.pi / 2, **shape), np.rot90(upright), atol=1e-12
    )
    assert covariance(upright)[0, 1] > 0  # turned from +x towards +y, which points downwards


@pytest.mark.parametrize(("beta", "size"), [(0.7, 241), (1.0, 121), (2.0, 121), (4.0, 121)])
def test_second_moments_of_the_generalized_gaussian(beta: float, size: int) -> None:
    # E[q] = 2^(1/beta) Γ(2/beta) / Γ(1/beta) in the plane, half of it along each axis
    expected = 2 ** (1 / beta) * math.gamma(2 / beta) / math.gamma(1 / beta) / 2
    moments = covariance(blur_kernel("generalized_aniso", size, sigma_x=6.0, sigma_y=4.0, rotation=0.6, beta=beta))
    np.testing.assert_allclose(moments, expected * sigma_matrix(6.0, 4.0, 0.6), rtol=0.005)


def test_second_moments_of_the_plateau() -> None:
    # E[q] = sin(π/beta) / sin(2π/beta); finite only for beta > 2
    beta = 4.0
    expected = math.sin(math.pi / beta) / math.sin(2 * math.pi / beta) / 2
    moments = covariance(blur_kernel("plateau_iso", 121, sigma_x=4.0, beta=beta))
    np.testing.assert_allclose(moments, expected * 16 * np.eye(2), rtol=0.005, atol=1e-9)


@pytest.mark.parametrize("beta", [1.0, 1.7, 2.0])
def test_the_plateau_is_at_half_its_height_one_sigma_from_the_centre(beta: float) -> None:
    kernel = blur_kernel("plateau_iso", 21, sigma_x=3.0, beta=beta)
    assert kernel[10, 13] / kernel[10, 10] == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("direction", [(1.0, 0.0), (0.0, 1.0), (math.sqrt(0.5), math.sqrt(0.5))])
@pytest.mark.parametrize("omega", [math.pi / 3, math.pi / 2, 2 * math.pi / 3])
def test_sinc_cuts_off_at_omega_in_every_direction(omega: float, direction: tuple[float, float]) -> None:
    kernel = blur_kernel("sinc", 61, omega=omega)
    frequencies = np.linspace(0, math.pi, 1001)
    levels = np.array([response(kernel, f * direction[0], f * direction[1]) for f in frequencies])
    half = frequencies[int(np.argmax(levels < 0.5))]
    assert half == pytest.approx(omega, rel=0.005)
    assert np.abs(levels[frequencies < 0.7 * omega] - 1).max() < 0.1
    assert np.abs(levels[frequencies > 1.3 * omega]).max() < 0.05


@pytest.mark.parametrize("size", [7, 13, 21])
def test_a_short_sinc_still_cuts_off_near_omega(size: int) -> None:
    omega = 2 * math.pi / 3
    kernel = blur_kernel("sinc", size, omega=omega)
    assert response(kernel, 0.85 * omega, 0) > 0.5 > response(kernel, 1.15 * omega, 0)


def test_padding_surrounds_with_zeros_and_changes_no_blur() -> None:
    small = blur_kernel("plateau_aniso", 9, **PARAMETERS)
    padded = blur_kernel("plateau_aniso", 9, **PARAMETERS, pad_to=21)
    assert padded.shape == (21, 21)
    assert np.array_equal(padded[6:15, 6:15], small)
    assert np.count_nonzero(padded) == 81
    frame = noisy()
    np.testing.assert_allclose(filter2d(frame, padded), filter2d(frame, small), atol=1e-3)


@pytest.mark.parametrize("size", [3, 9, 15])
def test_filter_is_a_correlation_over_a_border_mirrored_without_its_edge(size: int) -> None:
    frame = noisy()
    kernel = np.random.default_rng(1).uniform(-0.1, 1, (size, size))
    kernel /= kernel.sum()
    reach = size // 2
    padded = np.pad(frame.astype(np.float64), ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(0, 1))
    want = np.einsum("ijcab,ab->ijc", windows, kernel)
    got = filter2d(frame, kernel)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, atol=2e-3)


def test_float_frames_overshoot_and_bytes_are_rounded_and_saturated() -> None:
    step = np.zeros((20, 20, 3), np.float32)
    step[:, 10:] = 255
    kernel = blur_kernel("sinc", 9, omega=1.5)
    smooth = filter2d(step, kernel)
    assert smooth.max() > 260
    assert smooth.min() < -5
    rounded = filter2d(step.astype(np.uint8), kernel)
    assert rounded.dtype == np.uint8
    assert np.abs(rounded - np.clip(smooth, 0, 255)).max() <= 0.51


@pytest.mark.parametrize("size", [9, 21])
def test_the_result_does_not_depend_on_threads(size: int) -> None:
    frame = noisy(240, 320)
    kernel = blur_kernel("aniso", size, sigma_x=2.0, sigma_y=1.0, rotation=0.3)
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        one = filter2d(frame, kernel)
        cv2.setNumThreads(4)
        assert np.array_equal(one, filter2d(frame, kernel))
    finally:
        cv2.setNumThreads(before)


@pytest.mark.parametrize(
    ("kind", "size", "change", "message"),
    [
        ("gauss", 7, {}, "unknown blur kernel 'gauss'"),
        ("plateau-iso", 7, {}, "did you mean 'plateau_iso'"),
        ("iso", 8, {}, "odd sides"),
        ("iso", 0, {}, "odd sides"),
        ("iso", 21, {"pad_to": 15}, "pad_to not below size"),
        ("iso", 7, {"pad_to": 20}, "odd sides"),
        ("iso", 7, {"sigma_x": None}, "sigma_x is missing; accepted: numbers for sigma_x"),
        ("aniso", 7, {"sigma_y": 0.0}, "sigma_y; got 0.0; accepted: above 0"),
        ("aniso", 7, {"rotation": math.nan}, "rotation; got nan; accepted: a finite number"),
        ("generalized_iso", 7, {"beta": -1.0}, "beta; got -1.0"),
        ("sinc", 7, {"omega": 3.5}, "omega; got 3.5; accepted: above 0, up to π"),
    ],
)
def test_wrong_parameters_are_refused(kind: str, size: int, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        blur_kernel(kind, size, **{**PARAMETERS, **change})


@pytest.mark.parametrize(
    "frame",
    [np.zeros((4, 4), np.float32), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
)
def test_what_is_no_frame_is_refused(frame: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"blur: not a frame; got shape .*accepted: RGB \(H, W, 3\), float32 or uint8"):
        filter2d(frame, np.ones((1, 1)))
