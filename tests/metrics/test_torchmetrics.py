"""PSNR and SSIM against torchmetrics, an implementation that shares no code with ours or with pyiqa."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from stvsr_bench.metrics.catalog import CATALOG
from stvsr_bench.metrics.result import MetricResult

Run = Callable[..., MetricResult]
Noise = Callable[..., torch.Tensor]


def test_psnr_equals_torchmetrics(run: Run, noise: Noise) -> None:
    pred, gt = noise(3, 33, 41, 1), noise(3, 33, 41, 2)
    pairs = zip(pred.double(), gt.double(), strict=True)
    wanted = [float(peak_signal_noise_ratio(p, g, data_range=255.0)) for p, g in pairs]
    assert run(CATALOG["psnr_rgb"], pred, gt).values == pytest.approx(wanted, abs=1e-5)


def test_ssim_equals_torchmetrics(run: Run, noise: Noise) -> None:
    """Where the window lies inside the frame; torchmetrics also averages the border, which it mirrors."""
    gt = noise(3, 33, 41, 2)
    pred = (gt.int() + noise(3, 33, 41, 3).int() % 31 - 15).clamp(0, 255).to(torch.uint8)
    wanted = []
    for p, g in zip(pred.double(), gt.double(), strict=True):
        _, full = structural_similarity_index_measure(p[None], g[None], data_range=255.0, return_full_image=True)
        wanted.append(float(full[..., 5:-5, 5:-5].mean()))
    assert run(CATALOG["ssim_rgb"], pred, gt).values == pytest.approx(wanted, abs=1e-9)
