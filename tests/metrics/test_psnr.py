"""PSNR against hand-computed values and scikit-image."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from stvsr_bench.core.errors import MetricError
from stvsr_bench.metrics.base import FrameBatch, build_metric
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


# --------------------------------------------------------------------------- one error for the whole clip

POOLED = CATALOG["psnr_rgb_pooled"]


def test_pooled_is_the_psnr_of_the_mean_error(run: Run) -> None:
    gt = torch.zeros(3, 3, 6, 8, dtype=torch.uint8)
    pred = gt + torch.tensor([1, 2, 4], dtype=torch.uint8).view(3, 1, 1, 1)
    result = run(POOLED, pred, gt, index=[3, 5, 6])
    assert result.values == (pytest.approx(10 * math.log10(255**2 * 3 / (1 + 4 + 16)), abs=1e-12),)
    assert (result.level, result.index, result.n, result.value) == ("clip", (3,), 1, result.values[0])
    # the mean of the frames' values is another number
    assert result.value < run(CATALOG["psnr_rgb"], pred, gt).value - 1


def test_pooled_equals_scikit_image_and_one_identical_frame_is_no_exception(run: Run, noise: Noise) -> None:
    pred, gt = noise(4, 9, 11, 1), noise(4, 9, 11, 2)
    pred[2] = gt[2]
    assert run(POOLED, pred, gt).value == pytest.approx(
        peak_signal_noise_ratio(gt.numpy(), pred.numpy(), data_range=255), abs=1e-10
    )
    result = run(POOLED, gt, gt)
    assert (result.value, result.n, result.reason) == (None, 0, "identical clips: PSNR is infinite")


def test_pooled_changes_no_bit_with_batches_sides_threads_or_memory_layout(run: Run, noise: Noise) -> None:
    pred, gt = noise(7, 33, 41, 1), noise(7, 33, 41, 2)
    whole = run(POOLED, pred, gt, batch=7)
    assert [run(POOLED, pred, gt, batch=batch) for batch in (1, 2, 3)] == [whole] * 3
    assert run(POOLED, gt, pred) == whole
    last = pred.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert run(POOLED, last, gt) == whole
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert run(POOLED, pred, gt) == whole
    finally:
        torch.set_num_threads(threads)
    one = run(POOLED, pred[:1], gt[:1], batch=1)
    assert one.values == (run(CATALOG["psnr_rgb"], pred[:1], gt[:1]).value,)


def test_pooled_starts_anew_and_refuses_what_the_others_refuse(run: Run, noise: Noise) -> None:
    pred, gt = noise(3, 9, 11, 1), noise(3, 9, 11, 2)
    metric = build_metric(POOLED)
    metric.setup("cpu")
    metric.start("other", 3)
    metric.update(FrameBatch(gt, pred.roll(1, 3), range(3)))
    metric.start("clip", 3)
    metric.update(FrameBatch(pred, gt, range(3)))
    assert metric.compute() == run(POOLED, pred, gt)
    with pytest.raises(MetricError, match="frame 2 after frame 2"):
        metric.update(FrameBatch(pred[:1], gt[:1], [2]))
    result = run(POOLED, pred, None)
    assert (result.value, result.n, result.reason) == (None, 0, "no ground truth")
    metric.start("clip", 2)
    metric.update(FrameBatch(pred[:1], gt[:1], [0]))
    with pytest.raises(MetricError, match="only a part of clip"):
        metric.update(FrameBatch(pred[1:2], None, [1]))
