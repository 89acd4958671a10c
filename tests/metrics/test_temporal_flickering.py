"""VBench temporal flickering: hand-computed values, pairs across batches, gaps, subsets."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch

from stvsr_bench.metrics.catalog import CATALOG
from stvsr_bench.metrics.result import MetricResult, subset

Run = Callable[..., MetricResult]
Noise = Callable[..., torch.Tensor]
INFO = CATALOG["vbench_temporal_flickering"]


def levels(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 6, 8)


def test_hand_computed(run: Run) -> None:
    result = run(INFO, levels(0, 51, 0, 0), None)
    assert result.values == (0.8, 0.8, 1.0)
    assert result.index == (0, 1, 2)
    assert result.value == pytest.approx(2.6 / 3, abs=1e-15)


def test_equals_vbenchs_formula(run: Run, noise: Noise) -> None:
    frames = noise(5, 32, 40)
    images = [f.permute(1, 2, 0).numpy().astype(np.float32) for f in frames]
    per_pair = [float(np.mean(np.abs(a - b))) for a, b in pairwise(images)]
    assert run(INFO, frames, None, batch=2).value == pytest.approx((255.0 - np.mean(per_pair)) / 255.0, abs=1e-6)


def test_ground_truth_does_not_matter(run: Run, noise: Noise) -> None:
    frames = noise(3, 16, 16)
    assert run(INFO, frames, noise(3, 16, 16, 5)) == run(INFO, frames, None)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_frames_with_a_gap_between_them_are_no_pair(run: Run, batch: int) -> None:
    result = run(INFO, levels(0, 51, 102, 102, 0), None, index=[0, 1, 5, 6, 9], batch=batch)
    assert result.index == (0, 5)
    assert result.values == (0.8, 1.0)


def test_subsets_hold_pairs_with_both_frames_inside(run: Run) -> None:
    result = run(INFO, levels(0, 51, 51, 51, 0), None)
    assert subset(result, [0, 2, 4]) == (None, 0, "no pair of consecutive frames lies in this subset")
    assert subset(result, [1, 2, 3]) == (1.0, 2, None)
