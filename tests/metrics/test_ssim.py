"""SSIM against scikit-image and against its definition."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from stvsr_bench.metrics.catalog import CATALOG
from stvsr_bench.metrics.functional.ssim import C1, C2, ssim, ssim_map
from stvsr_bench.metrics.functional.window import gaussian_valid, gaussian_valid_by_product
from stvsr_bench.metrics.result import MetricResult

Run = Callable[..., MetricResult]
Noise = Callable[..., torch.Tensor]


def luma(frames: torch.Tensor) -> np.ndarray:
    r, g, b = frames.double().numpy().transpose(1, 0, 2, 3)
    return (65.481 * r + 128.553 * g + 24.966 * b) / 255 + 16


def scikit_image(pred: np.ndarray, gt: np.ndarray, crop: int) -> float:
    """scikit-image's map, without the 5 pixels where its window leaves the frame."""
    inner = slice(crop, -crop or None)
    _, full = structural_similarity(
        gt[inner, inner].astype(np.float64),
        pred[inner, inner].astype(np.float64),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        full=True,
        truncate=3.5,
    )
    return float(full[5:-5, 5:-5].mean())


def pairs(noise: Noise) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Unrelated frames, close frames, and frames that run against each other, where the structure term is negative."""
    gt = noise(2, 31, 45, 2)
    close = (gt.int() + noise(2, 31, 45, 3).int() % 9 - 4).clamp(0, 255).to(torch.uint8)
    return [(noise(2, 31, 45, 1), gt), (close, gt), (255 - gt, gt)]


@pytest.mark.parametrize("crop", [0, 4])
def test_equals_scikit_image(run: Run, noise: Noise, crop: int) -> None:
    for pred, gt in pairs(noise):
        got = run(CATALOG[f"ssim_y_crop{crop}"], pred, gt).values
        assert got == pytest.approx(
            [scikit_image(p, g, crop) for p, g in zip(luma(pred), luma(gt), strict=True)], abs=1e-12
        )
        got = run(CATALOG["ssim_rgb_crop4" if crop else "ssim_rgb"], pred, gt).values
        want = [
            np.mean([scikit_image(a, b, crop) for a, b in zip(p.numpy(), g.numpy(), strict=True)])
            for p, g in zip(pred, gt, strict=True)
        ]
        assert got == pytest.approx(want, abs=1e-12)


def test_negative_structure_is_not_clipped(run: Run, noise: Noise) -> None:
    gt = noise(1, 31, 45)
    assert run(CATALOG["ssim_rgb"], 255 - gt, gt).value < -0.5


def test_flat_frames_leave_only_the_luminance_term() -> None:
    a, b = torch.full((1, 1, 16, 16), 100.0), torch.full((1, 1, 16, 16), 150.0)
    want = (2 * 100 * 150 + C1) / (100**2 + 150**2 + C1)
    assert ssim(a, b)[0] == pytest.approx(want, abs=1e-12)


def test_a_frame_against_its_half_contrast() -> None:
    x = torch.randint(0, 256, (11, 11), generator=torch.Generator().manual_seed(0)).double()
    y = (x - 128) / 2 + 128
    k = np.exp(-((np.arange(11) - 5) ** 2) / 4.5)
    w = np.outer(k, k) / k.sum() ** 2
    mx, my = (w * x.numpy()).sum(), (w * y.numpy()).sum()
    vx, vy = (w * (x.numpy() - mx) ** 2).sum(), (w * (y.numpy() - my) ** 2).sum()
    cov = (w * (x.numpy() - mx) * (y.numpy() - my)).sum()
    want = (2 * mx * my + C1) * (2 * cov + C2) / ((mx**2 + my**2 + C1) * (vx + vy + C2))
    assert ssim_map(x, y).item() == pytest.approx(want, abs=1e-12)


def test_identical_frames_give_exactly_one(run: Run, noise: Noise) -> None:
    gt = noise(2, 31, 45)
    for name in ("ssim_rgb", "ssim_rgb_crop4", "ssim_y_crop0", "ssim_y_crop4"):
        assert run(CATALOG[name], gt, gt).values == (1.0, 1.0)


@pytest.mark.parametrize("size", [(11, 11), (11, 40), (64, 37)])
def test_both_ways_of_filtering_agree(size: tuple[int, int]) -> None:
    image = torch.rand(size, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 255
    a, b = gaussian_valid(image), gaussian_valid_by_product(image)
    assert a.shape == (size[0] - 10, size[1] - 10)
    torch.testing.assert_close(a, b, rtol=1e-12, atol=0)
