"""DISTS: its formula in float64, what is stored of the ground truth, and its edges."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from stvsr_bench.core.errors import MetricError
from stvsr_bench.metrics.base import FrameBatch, Metric, build_metric
from stvsr_bench.metrics.catalog import CATALOG
from stvsr_bench.metrics.feature_store import FeatureStore
from stvsr_bench.metrics.functional.dists import covariance, moments, split_weights
from stvsr_bench.metrics.functional.packing import pack, unpack
from stvsr_bench.metrics.result import MetricResult
from stvsr_bench.nn.vgg import CHANNELS, Vgg16Features
from stvsr_bench.weights import service

DISTS = CATALOG["dists"]

Run = Callable[..., MetricResult]
Noise = Callable[..., torch.Tensor]


def _ready() -> Metric:
    metric = build_metric(DISTS)
    metric.setup("cpu")
    return metric


def _float64(pred: torch.Tensor, gt: torch.Tensor) -> float:
    """DISTS of one frame, written without the suite's arithmetic."""
    trunk, ends = (service.load_weight(weight) for weight in DISTS.weights)
    hann = torch.hann_window(5, periodic=False)[1:-1].double()
    kernel = torch.outer(hann, hann) / hann.sum() ** 2

    def taps(frame: torch.Tensor) -> list[torch.Tensor]:
        x = frame[None].double() / 255
        found = [x]
        x = (x - torch.tensor([0.485, 0.456, 0.406]).double().view(1, 3, 1, 1)) / torch.tensor(
            [0.229, 0.224, 0.225]
        ).double().view(1, 3, 1, 1)
        number = 0
        for stage, count in enumerate((2, 2, 3, 3, 3)):
            if stage:
                channels, number = x.shape[1], number + 1
                energy = nn.functional.conv2d(
                    x * x, kernel.expand(channels, 1, 3, 3), stride=2, padding=1, groups=channels
                )
                x = (energy + 1e-12).sqrt()
            for _ in range(count):
                weight, bias = (trunk[f"features.{number}.{name}"].double() for name in ("weight", "bias"))
                x, number = nn.functional.conv2d(x, weight, bias, padding=1).relu(), number + 2
            found.append(x)
        return found

    x, y = (torch.cat([tap.flatten(2)[0].T.mean(0) for tap in taps(f)]) for f in (pred, gt))
    vx, vy = (torch.cat([tap.flatten(2)[0].var(1, correction=0) for tap in taps(f)]) for f in (pred, gt))
    both = torch.cat(
        [
            ((a - a.mean((2, 3), keepdim=True)) * (b - b.mean((2, 3), keepdim=True))).mean((2, 3))[0]
            for a, b in zip(taps(pred), taps(gt), strict=True)
        ]
    )
    alpha, beta = (ends[name].double().flatten() for name in ("alpha", "beta"))
    s1, s2 = (2 * x * y + 1e-6) / (x * x + y * y + 1e-6), (2 * both + 1e-6) / (vx + vy + 1e-6)
    return float(1 - ((alpha * s1 + beta * s2) / (alpha.sum() + beta.sum())).sum())


@pytest.mark.parametrize("size", [(1, 1), (7, 19), (40, 47), (65, 83)])
def test_it_equals_the_formula_in_float64(size: tuple[int, int], run: Run, noise: Noise) -> None:
    gt = noise(2, *size, 1)
    pred = (gt // 2 + noise(2, *size, 2) // 3).to(torch.uint8)
    wanted = [_float64(p, g) for p, g in zip(pred, gt, strict=True)]
    assert run(DISTS, pred, gt).values == pytest.approx(wanted, rel=0, abs=1e-6)


def test_identical_frames_give_exactly_zero_and_sides_may_change_places(run: Run, noise: Noise) -> None:
    frames, others = noise(2, 66, 70, 1), noise(2, 66, 70, 2)
    assert run(DISTS, frames, frames.clone()).values == (0.0, 0.0)
    black = torch.zeros_like(frames)
    assert run(DISTS, black, black.clone()).values == (0.0, 0.0)
    assert run(DISTS, frames, others) == run(DISTS, others, frames)


@pytest.mark.parametrize("size", [(40, 47), (66, 70)])
def test_what_is_stored_of_the_ground_truth_changes_no_bit(size: tuple[int, int], tmp_path: Path, noise: Noise) -> None:
    pred, gt = noise(3, *size, 1), noise(3, *size, 2)
    metric, values, counts = _ready(), [], []
    for kept in (False, True, True):
        metric.start("clip", 3)
        with FeatureStore(tmp_path) as store:
            for part in (slice(0, 2), slice(2, 3)):
                metric.update(FrameBatch(pred[part], gt[part], range(3)[part], store=store if kept else None))
        values.append(metric.compute())
        counts.append((store.misses, store.hits))
    assert values[0] == values[1] == values[2]
    assert counts == [(0, 0), (3, 0), (0, 3)]


def test_a_stored_ground_truth_takes_the_fine_layers_only(
    tmp_path: Path, noise: Noise, monkeypatch: pytest.MonkeyPatch
) -> None:
    pred, gt = noise(1, 66, 70, 1), noise(1, 66, 70, 2)
    metric = _ready()
    with FeatureStore(tmp_path) as store:
        metric.update(FrameBatch(pred, gt, [0], store=store))
    made: list[int] = []
    forward = Vgg16Features.forward

    def counted(self: Vgg16Features, x: torch.Tensor) -> object:
        for i, features in enumerate(forward(self, x)):
            made.append(i)
            yield features

    monkeypatch.setattr(Vgg16Features, "forward", counted)
    with FeatureStore(tmp_path) as store:
        metric.score(FrameBatch(pred, gt, [0], store=store), None)
    assert sorted(made) == [0, 0, 1, 2, 3, 4]


def test_no_maps_are_kept_between_frames(noise: Noise) -> None:
    metric = _ready()
    batch = FrameBatch(noise(2, 33, 41, 1), noise(2, 33, 41, 2), [0, 1])
    metric.update(batch)
    assert {key for _, key in batch._features} <= {"u8", "rgb"}


def test_moments_of_a_map_with_a_large_mean() -> None:
    """Float32 maps, float64 sums around the mean: nothing is lost where the deviation is small."""
    torch.manual_seed(0)
    x = (20 + 0.05 * torch.randn(1, 5, 300, 400)).to(memory_format=torch.channels_last)
    y = (x + 0.02 * torch.randn(1, 5, 300, 400)).to(memory_format=torch.channels_last)
    flat_x, flat_y = (m[0].flatten(1).double() for m in (x, y))
    of_x, of_y = moments(x), moments(y)
    assert torch.allclose(of_x.mean, flat_x.mean(1), rtol=1e-7, atol=0)
    assert torch.allclose(of_x.variance, flat_x.var(1, correction=0), rtol=1e-5, atol=0)
    both = ((flat_x - flat_x.mean(1, keepdim=True)) * (flat_y - flat_y.mean(1, keepdim=True))).mean(1)
    assert torch.allclose(covariance(x, y, of_x, of_y), both, rtol=1e-5, atol=0)


def test_packed_maps_come_back_to_the_bit() -> None:
    torch.manual_seed(0)
    for x in (torch.randn(1, 7, 5, 3).relu(), torch.zeros(1, 2, 3, 3), torch.rand(1, 8, 4, 4) + 1):
        bits, values = pack(x)
        assert values.numel() == int((x != 0).sum())
        assert bits.numel() == -(-x.numel() // 8)
        assert torch.equal(unpack(bits, values, (x.shape[1], x.shape[2], x.shape[3])), x)


def test_the_weights_are_divided_by_their_joint_sum() -> None:
    taps = (3, *CHANNELS)
    parts = split_weights(torch.full((1, sum(taps), 1, 1), 2.0), torch.full((1, sum(taps), 1, 1), 6.0), taps)
    assert [len(alpha) for alpha, _ in parts] == list(taps)
    assert float(sum(alpha.sum() + beta.sum() for alpha, beta in parts)) == pytest.approx(1, abs=1e-12)
    assert float(parts[0][0][0]) == pytest.approx(2 / 8 / sum(taps), rel=1e-12)


def test_update_needs_setup(noise: Noise) -> None:
    with pytest.raises(MetricError, match="not set up"):
        build_metric(DISTS).update(FrameBatch(noise(1, 33, 41), noise(1, 33, 41), [0]))
