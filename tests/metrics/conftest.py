"""What the tests of metrics share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import pytest
import torch

from stvsr_bench.metrics import lpips
from stvsr_bench.metrics.base import FrameBatch, build_metric
from stvsr_bench.metrics.catalog import MetricInfo
from stvsr_bench.metrics.result import MetricResult
from stvsr_bench.nn.alexnet import AlexNetFeatures
from stvsr_bench.nn.seeded import seed_parameters
from stvsr_bench.nn.vgg import CHANNELS, Vgg16Features

Run = Callable[..., MetricResult]


@cache
def seeded_weight(weight: str) -> dict[str, torch.Tensor]:
    """Tensors of the names and shapes of the published ones."""
    if weight.startswith("lpips/heads_"):
        channels = CHANNELS if weight.endswith("vgg") else (64, 192, 384, 256, 256)
        generator = torch.Generator().manual_seed(5)
        return {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1, generator=generator) for i, c in enumerate(channels)}
    trunk = {"lpips/alexnet": AlexNetFeatures, "lpips/vgg16": Vgg16Features}[weight]()
    seed_parameters(trunk, weight)
    return trunk.state_dict()


@pytest.fixture(autouse=True)
def seeded_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Metrics run with seeded parameters here; ``tests/goldens`` compares values with the published ones."""
    monkeypatch.setattr(lpips, "load_weight", seeded_weight)


@pytest.fixture
def run() -> Run:
    """Score a whole clip: ``run(info, pred, gt, batch=…, index=…)``."""

    def score(
        info: MetricInfo,
        pred: torch.Tensor,
        gt: torch.Tensor | None,
        batch: int = 4,
        index: Sequence[int] | None = None,
        device: str = "cpu",
    ) -> MetricResult:
        numbers = list(range(len(pred))) if index is None else list(index)
        metric = build_metric(info)
        metric.setup(device)
        for start in range(0, len(pred), batch):
            part = slice(start, start + batch)
            metric.update(FrameBatch(pred[part], None if gt is None else gt[part], numbers[part], device))
        return metric.compute()

    return score


@pytest.fixture
def noise() -> Callable[..., torch.Tensor]:
    """Random frames: ``noise(T, H, W, seed=0)``."""

    def make(count: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)

    return make
