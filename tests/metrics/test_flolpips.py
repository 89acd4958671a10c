"""FloLPIPS: the weighting by hand, pyramids and flows computed once, the triplet form."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from stvsr_bench.core.errors import MetricError
from stvsr_bench.metrics.base import FrameBatch, build_metric
from stvsr_bench.metrics.catalog import CATALOG
from stvsr_bench.metrics.feature_store import FeatureStore
from stvsr_bench.metrics.flolpips import FloLpips
from stvsr_bench.metrics.functional.flolpips import flolpips, motion_weights
from stvsr_bench.metrics.result import MetricResult
from stvsr_bench.nn.pwcnet import PwcNet

Run = Callable[..., MetricResult]
Noise = Callable[..., torch.Tensor]
INFO = CATALOG["flolpips"]


def ready() -> FloLpips:
    metric = build_metric(INFO)
    assert isinstance(metric, FloLpips)
    metric.setup("cpu")
    return metric


def test_weights_sum_to_1_and_follow_the_size_of_the_difference() -> None:
    difference = torch.zeros(1, 2, 4, 4)
    difference[0, 0, :2], difference[0, 1, :2], difference[0, 0, 2:] = 3, 4, 15
    weights = motion_weights(difference, 2, 2)
    assert weights.tolist() == [[pytest.approx(5 / 40)] * 2, [pytest.approx(15 / 40)] * 2]
    assert motion_weights(torch.zeros(1, 2, 4, 4), 2, 2).tolist() == [[0.25, 0.25]] * 2


def test_components_are_resized_before_their_size_is_taken() -> None:
    difference = torch.ones(1, 2, 2, 4)
    difference[..., 1::2] = -1  # opposite motions cancel
    difference[..., 3:] = 1
    assert motion_weights(difference, 1, 2).tolist() == [[0, 1]]


def test_equals_the_sum_over_layers_in_float64() -> None:
    generator = torch.Generator().manual_seed(1)
    shapes = ((1, 4, 12, 9), (1, 6, 5, 4))
    pred, gt = ([torch.randn(shape, generator=generator) for shape in shapes] for _ in range(2))
    heads = [torch.rand(1, shape[1], 1, 1, generator=generator) for shape in shapes]
    difference = torch.randn(1, 2, 40, 31, generator=generator)
    wanted = 0.0
    for p, g, head in zip(pred, gt, heads, strict=True):
        d = ((p - g).double().square() * head.double()).sum(1)
        w = F.interpolate(difference.double(), p.shape[2:], mode="bilinear", align_corners=False).norm(dim=1)
        wanted += float((d * w).sum() / w.sum())
    assert flolpips(pred, gt, heads, difference) == pytest.approx(wanted, rel=1e-6)


def test_identical_and_black_clips_give_0(run: Run, noise: Noise) -> None:
    for frames in (noise(3, 40, 48), torch.zeros(3, 3, 40, 48, dtype=torch.uint8)):
        result = run(INFO, frames, frames)
        assert result.values == (0, 0)


def test_pyramids_and_flows_are_computed_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, noise: Noise) -> None:
    pyramids, flows = [], []
    pyramid, flow = PwcNet.pyramid, PwcNet.compact_flow
    monkeypatch.setattr(PwcNet, "pyramid", lambda self, x: pyramids.append(1) or pyramid(self, x))
    monkeypatch.setattr(PwcNet, "compact_flow", lambda self, a, b: flows.append(1) or flow(self, a, b))
    pred, gt = noise(5, 40, 48, 1), noise(5, 40, 48, 2)
    results, counts = [], []
    for _ in range(2):
        metric = ready()
        with FeatureStore(tmp_path) as store:
            for begin in (0, 2, 4):
                part = slice(begin, begin + 2)
                metric.update(FrameBatch(pred[part], gt[part], range(begin, min(begin + 2, 5)), store=store))
        results.append(metric.compute())
        counts.append((len(pyramids), len(flows)))
    assert results[0] == results[1]
    assert counts == [(10, 8), (15, 12)]  # the second time the true side comes from disk


def test_motion_decides_what_counts(run: Run, noise: Noise) -> None:
    """FloLPIPS is no plain LPIPS: the same frames after another neighbour get another value."""
    pred, gt, other = noise(2, 48, 64, 1), noise(2, 48, 64, 2), noise(2, 48, 64, 3)
    first = run(INFO, pred, gt).values
    second = run(INFO, torch.stack([pred[0], other[0]]), torch.stack([gt[0], other[1]])).values
    assert first != second
    assert first[0] != run(CATALOG["lpips_alex_v0.1"], pred, gt).values[0]


def test_the_triplet_form(noise: Noise) -> None:
    metric = ready()
    before, after, pred, gt = noise(4, 48, 64)
    value = metric.triplet(before, after, pred, gt)
    assert math.isfinite(value)
    assert value > 0
    assert metric.triplet(after, before, pred, gt) == pytest.approx(value, rel=1e-6)
    assert metric.triplet(before, after, gt, gt) == 0
    # the mean of two video values whose second frames are the true neighbours, for both
    networks = metric.networks
    assert networks is not None
    halves = []
    for end in (before, after):
        metric.start("clip", 2)
        metric.update(FrameBatch(torch.stack([pred, end]), torch.stack([gt, end]), range(2)))
        halves.append(metric.compute().value or 0)
    assert value == pytest.approx(sum(halves) / 2, rel=1e-6)
    with pytest.raises(MetricError, match="differ in size"):
        metric.triplet(before, after, pred[None].expand(2, -1, -1, -1), gt)


def test_it_must_be_set_up(noise: Noise) -> None:
    with pytest.raises(MetricError, match="is not set up"):
        build_metric(INFO).update(FrameBatch(noise(2, 40, 40), noise(2, 40, 40, 1), range(2)))
