"""What the tests of metrics share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # for the helpers beside the tests

from seeded_metric_weights import seeded_weight

from stvsr_bench.metrics.base import FrameBatch, build_metric
from stvsr_bench.metrics.catalog import CATALOG, MetricInfo
from stvsr_bench.metrics.result import MetricResult
from stvsr_bench.weights import service

Run = Callable[..., MetricResult]
LOAD = service.load_weight
"""The service itself, before the tests put seeded parameters in its place."""


@pytest.fixture(autouse=True)
def seeded_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Metrics run with seeded parameters here; ``tests/goldens`` compares values with the published ones."""
    monkeypatch.setattr(service, "load_weight", seeded_weight)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch, require_weights: Callable[..., None]) -> Callable[..., None]:
    """A function that gives the named metrics their published parameters, or skips or fails as ``require_weights``."""

    def use(*metrics: str) -> None:
        monkeypatch.setattr(service, "load_weight", LOAD)
        require_weights(*(weight for name in metrics for weight in CATALOG[name].weights))

    return use


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
        metric.start("clip", len(pred))
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
