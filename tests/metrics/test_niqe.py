"""NIQE: its features by hand, what the two forms do with flat areas, and its edges."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.ndimage
import torch

from stvsr_bench.metrics.base import FrameBatch
from stvsr_bench.metrics.catalog import CATALOG
from stvsr_bench.metrics.functional.niqe import Form, Pristine, fit, niqe, normalise
from stvsr_bench.metrics.niqe import luma
from stvsr_bench.metrics.result import MetricResult
from stvsr_bench.weights import service

YIQ = CATALOG["niqe_pyiqa_yiq"]
ALL = [info for info in CATALOG.values() if info.id.startswith("niqe_")]

Run = Callable[..., MetricResult]
Noise = Callable[..., torch.Tensor]


def _window() -> torch.Tensor:
    return service.load_weight("niqe/pristine")["gaussian_window"]


@pytest.mark.parametrize("shape", [1.0, 1.5, 2.0, 3.3])
def test_the_fit_finds_the_distribution(shape: float) -> None:
    """Samples at the quantiles of a generalised Gaussian of scale 0.7 to the left and 1.6 to the right."""
    x = torch.linspace(0, 12, 400_001, dtype=torch.float64)[1:]
    weight = torch.exp(-(x**shape))
    cumulated = weight.cumsum(0) / weight.sum()
    places = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    quantiles = x[torch.searchsorted(cumulated, places)]
    # the density is continuous: the sides hold samples in proportion to their scales
    share = torch.linspace(0, 19_999, round(20_000 * 0.7 / 1.6)).round().long()
    left, right = -0.7 * quantiles[share], 1.6 * quantiles
    found, small, large, spread = fit(torch.cat([left, right])[None])
    assert float(found) == pytest.approx(shape, abs=0.03)
    assert float(small) == pytest.approx(0.7, rel=0.02)
    assert float(large) == pytest.approx(1.6, rel=0.02)
    assert float(spread) == pytest.approx(math.gamma(2 / float(found)) / math.gamma(1 / float(found)), rel=1e-9)


def test_a_row_of_one_sign_has_no_fit() -> None:
    rows = torch.tensor([[1.0, 2, 3], [0, 0, 0], [-1, -1, 0], [-1, 1, 2]], dtype=torch.float64)
    assert fit(rows)[0].isnan().tolist() == [True, True, True, False]


@pytest.mark.parametrize("form", ["pyiqa", "basicsr"])
def test_samples_are_normalised_by_what_is_around_them(form: Form, noise: Noise) -> None:
    y = noise(1, 20, 30)[0, 0].double()
    image, weights = y.numpy(), _window().numpy()
    mean = scipy.ndimage.convolve(image, weights, mode="nearest")
    deviation = np.sqrt(np.abs(scipy.ndimage.convolve(image**2, weights, mode="nearest") - mean**2))
    found = normalise(y if form == "pyiqa" else y.float(), _window(), form)
    assert found.dtype == (torch.float64 if form == "pyiqa" else torch.float32)
    assert np.allclose(found.numpy(), (image - mean) / (deviation + 1), atol=1e-5)


def test_a_flat_area_equals_its_mean_in_basicsr_and_lies_to_one_side_in_pyiqa() -> None:
    flat = torch.full((16, 16), 137.0, dtype=torch.float64)
    assert not normalise(flat.float(), _window(), "basicsr").any()
    found = normalise(flat, _window(), "pyiqa")
    offset = float(_window().float().double().sum()) - 1
    assert 1e-9 < abs(offset) < 1e-7
    assert bool((found.sign() == -math.copysign(1, offset)).all())
    assert float(found.abs().max()) < 1e-4


def test_the_second_scale_and_every_block_count(noise: Noise) -> None:
    model = service.load_weight("niqe/pristine")
    pristine = Pristine(model["mu_pris_param"][0], model["cov_pris_param"], model["gaussian_window"])
    y = noise(1, 200, 300)[0, 0].double()
    value = float(niqe(y, pristine, "pyiqa"))
    assert float(niqe(y[:192, :288], pristine, "pyiqa")) == value  # what is over is left out
    far = y.clone()
    far[96:192, 192:288] = 255 - far[96:192, 192:288] // 3
    assert abs(float(niqe(far, pristine, "pyiqa")) - value) > 1e-3


@pytest.mark.parametrize("info", ALL, ids=lambda i: i.id)
def test_a_frame_without_structure_has_no_value(info: object, run: Run, noise: Noise) -> None:
    assert isinstance(info, type(YIQ))
    frames = noise(2, 104, 200)
    frames[1] = 0
    result = run(info, frames, None)
    assert result.values[0] is not None
    assert result.values[1:] == (None,)
    assert [(e.index, e.reason) for e in result.excluded] == [(1, "fewer than two blocks hold any structure")]
    assert result.value == result.values[0]


def test_the_border_is_cut_before_the_blocks(run: Run, noise: Noise) -> None:
    frames = noise(1, 104, 200)
    cut = frames[:, :, 4:-4, 4:-4].contiguous()
    for form in ("pyiqa", "basicsr"):
        whole = run(CATALOG[f"niqe_{form}_y_crop4"], frames, None)
        assert whole.values == run(CATALOG[f"niqe_{form}_y"], cut, None).values


def test_gray_is_that_of_opencv(noise: Noise) -> None:
    """But for ties, which fall where this machine's OpenCV lets them."""
    import cv2

    frames = noise(1, 120, 200)
    bgr = frames[0].permute(1, 2, 0).flip(2).numpy().astype(np.float32) / np.float32(255)
    wanted = np.round(cv2.cvtColor(np.ascontiguousarray(bgr), cv2.COLOR_BGR2GRAY) * np.float32(255))
    found = luma(FrameBatch(frames, None, [0]), "gray_rounded")[0].numpy()
    different = np.abs(found - wanted)
    assert different.max() <= 1
    assert (different > 0).sum() <= 10


def test_it_is_the_distance_from_the_model(noise: Noise) -> None:
    """A model moved by one along one feature, with a huge variance elsewhere, is that much further away."""
    model = service.load_weight("niqe/pristine")
    y = noise(1, 192, 288)[0, 0].double()
    values = []
    for moved in (0.0, 1.0, 2.0):
        mean = model["mu_pris_param"][0].clone()
        mean[7] += 1000 + moved
        values.append(float(niqe(y, Pristine(mean, model["cov_pris_param"], model["gaussian_window"]), "pyiqa")))
    assert values[2] - values[1] == pytest.approx(values[1] - values[0], rel=1e-3)
    assert 0.5 < values[1] - values[0] < 5  # over the root of half the model's variance and half the frame's
