"""PSNR against hand-computed values and scikit-image."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from stvsr_bench.metrics.catalog import CATALOG
from stvsr_bench.metrics.functional.psnr import psnr
from stvsr_bench.metrics.result import MetricResult, subset

Run = Callable[..., MetricResult]
Noise = Callable[..., torch.Tensor]


def luma(frames: torch.Tensor) -> np.ndarray:
    r, g, b = frames.double().numpy().transpose(1, 0, 2, 3)
    return (65.481 * r + 128.553 * g + 24.966 * b) / 255 + 16


def test_one_sample_off_by_one() -> None:
    gt = torch.zeros(1, 3, 5, 7, dtype=torch.uint8)
    pred = gt.clone()
    pred[0, 1, 2, 3] = 1
    assert psnr(pred, gt)[0] == pytest.approx(10 * math.log10(255**2 * 105), abs=1e-12)


@pytest.mark.parametrize("offset", [1, 16, 255])
def test_constant_offset(run: Run, offset: int) -> None:
    gt = torch.zeros(2, 3, 12, 14, dtype=torch.uint8)
    rgb = run(CATALOG["psnr_rgb"], gt + offset, gt).value
    assert rgb == pytest.approx(20 * math.log10(255 / offset), abs=1e-9)
    # an offset of all channels moves Y by 219/255 of it
    assert run(CATALOG["psnr_y_crop0"], gt + offset, gt).value == pytest.approx(
        rgb + 20 * math.log10(255 / 219), abs=1e-9
    )


@pytest.mark.parametrize("crop", [0, 4])
def test_equals_scikit_image(run: Run, noise: Noise, crop: int) -> None:
    pred, gt = noise(3, 29, 37, 1), noise(3, 29, 37, 2)
    inner = slice(crop, -crop or None)
    got = run(CATALOG["psnr_rgb_crop4" if crop else "psnr_rgb"], pred, gt).values
    want = [
        peak_signal_noise_ratio(g[:, inner, inner].numpy(), p[:, inner, inner].numpy(), data_range=255)
        for p, g in zip(pred, gt, strict=True)
    ]
    assert got == pytest.approx(want, abs=1e-10)
    got = run(CATALOG[f"psnr_y_crop{crop}"], pred, gt).values
    want = [
        peak_signal_noise_ratio(g[inner, inner], p[inner, inner], data_range=255)
        for p, g in zip(luma(pred), luma(gt), strict=True)
    ]
    assert got == pytest.approx(want, abs=1e-10)


def test_the_crop_ignores_the_border(run: Run, noise: Noise) -> None:
    gt = noise(1, 20, 20)
    pred = gt.clone()
    pred[..., 4:-4, 4:-4] = (gt[..., 4:-4, 4:-4].int() ^ 1).to(torch.uint8)
    clean = run(CATALOG["psnr_rgb_crop4"], pred, gt).value
    assert clean == pytest.approx(20 * math.log10(255), abs=1e-9)
    pred[..., :4, :] = 0
    assert run(CATALOG["psnr_rgb_crop4"], pred, gt).value == clean
    assert run(CATALOG["psnr_rgb"], pred, gt).value < clean


def test_identical_frames_are_null_excluded_and_counted(run: Run, noise: Noise) -> None:
    gt = noise(4, 12, 12)
    pred = gt.clone()
    pred[1::2] ^= 1
    result = run(CATALOG["psnr_rgb"], pred, gt)
    assert result.values == (None, pytest.approx(48.1308, abs=1e-4), None, pytest.approx(48.1308, abs=1e-4))
    assert result.value == pytest.approx(20 * math.log10(255), abs=1e-9)
    assert result.n == 2
    assert [(e.index, e.reason) for e in result.excluded] == [
        (0, "identical frames: PSNR is infinite"),
        (2, "identical frames: PSNR is infinite"),
    ]
    assert subset(result, [0, 2]) == (None, 0, "identical frames: PSNR is infinite")
    assert subset(result, [0, 1]) == (result.value, 1, None)


def test_a_clip_of_identical_frames_has_no_value(run: Run, noise: Noise) -> None:
    gt = noise(2, 12, 12)
    result = run(CATALOG["psnr_y_crop4"], gt, gt)
    assert (result.value, result.n, result.reason) == (None, 0, "identical frames: PSNR is infinite")
