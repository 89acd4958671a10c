"""Learned metrics with published parameters against the golden set: every case of its ``expected.json``."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from stvsr_bench.metrics.base import FrameBatch, build_metric
from stvsr_bench.metrics.catalog import CATALOG
from stvsr_bench.metrics.lpips import Lpips
from stvsr_bench.weights.known import weight_spec

_GIVEN = os.environ.get("STVSR_BENCH_GOLDENS")
FOLDER = (Path(_GIVEN) if _GIVEN else Path(__file__).resolve().parents[3] / "shared" / "goldens") / "metrics_real"
EXPECTED: dict[str, Any] = (
    json.loads((FOLDER / "expected.json").read_text())
    if FOLDER.is_dir()
    else {"pairs": {}, "weights_used": {}, "tensor_hashes": {}}
)

METRICS = {"lpips_alex": "lpips_alex_v0.1", "lpips_vgg": "lpips_vgg_v0.1"}
"""What the set calls a metric, and our id."""
ATOL = 1e-6

_ALL = [(pair, metric) for pair, metrics in EXPECTED["pairs"].items() for metric in metrics]
CASES = [(pair, metric) for pair, metric in _ALL if metric in METRICS]
LEFT_OUT = [(pair, metric) for pair, metric in _ALL if metric not in METRICS]
COMPARED: dict[tuple[str, str], int] = {}
"""Values compared in this process, by case."""


@pytest.fixture(scope="module")
def clips(goldens: Path) -> dict[str, Tensor]:
    values = load_file(goldens / "metrics_real" / "clips.safetensors")
    return {name: frames.permute(0, 3, 1, 2).contiguous() for name, frames in values.items()}


@pytest.mark.parametrize("metric", METRICS)
def test_the_metric_reads_the_weights_of_the_set(metric: str, goldens: Path) -> None:
    del goldens
    wanted = [EXPECTED["tensor_hashes"][name] for name in EXPECTED["weights_used"][metric]]
    assert [weight_spec(weight).tensor_hash for weight in CATALOG[METRICS[metric]].weights] == wanted


@pytest.mark.parametrize(("pair", "metric"), CASES, ids=[f"{pair}-{metric}" for pair, metric in CASES])
def test_case(pair: str, metric: str, clips: dict[str, Tensor], require_weights: Callable[..., None]) -> None:
    """Every value of one pair of clips and one metric."""
    expected = EXPECTED["pairs"][pair][metric]
    info = CATALOG[METRICS[metric]]
    require_weights(*info.weights)
    scorer = build_metric(info)
    assert isinstance(scorer, Lpips)
    scorer.setup("cpu")
    clip, kind = pair.rsplit("/", 1)
    pred, gt = clips[f"{clip}.{kind}"], clips[f"{clip}.gt"]
    scorer.update(FrameBatch(pred, gt, range(len(pred))))
    result = scorer.compute()
    exact = kind == "gt"
    assert len(result.values) == len(expected["per_frame"]) == len(pred)
    for value, wanted in zip([*result.values, result.value], [*expected["per_frame"], expected["mean"]], strict=True):
        assert value == (0 if exact else pytest.approx(wanted, rel=0, abs=ATOL))
    compared, count = {"per_frame", "mean"}, len(pred) + 1
    if "layers_frame0" in expected:
        (layers,) = scorer.layers(FrameBatch(pred[:1], gt[:1], [0]))
        assert layers == pytest.approx(expected["layers_frame0"], rel=0, abs=ATOL)
        assert math.fsum(layers) == result.values[0]
        compared.add("layers_frame0")
        count += len(layers)
    assert compared == set(expected)
    assert count == _count(expected)
    COMPARED[pair, metric] = count


def test_count(goldens: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was compared is what the file holds, and only metrics that this version lacks are left out."""
    del goldens
    missing = [" ".join(case) for case in CASES if case not in COMPARED]
    with capsys.disabled():
        print(f"\nmetrics_real: {sum(COMPARED.values())} values of {len(COMPARED)} cases compared; ", end="")
        print(f"not run here: {', '.join(missing) or 'none'}; ", end="")
        print(f"left out, other metrics: {', '.join(f'{pair} {metric}' for pair, metric in LEFT_OUT) or 'none'}")
    assert sum(COMPARED.values()) == sum(_count(EXPECTED["pairs"][pair][metric]) for pair, metric in COMPARED)
    left = {metric for _, metric in LEFT_OUT}
    assert not any(name in CATALOG or f"{name}_v0.1" in CATALOG for name in left)


def _count(values: Any) -> int:
    """Numbers in a nested structure."""
    if isinstance(values, dict):
        return sum(_count(value) for value in values.values())
    return sum(_count(value) for value in values) if isinstance(values, list) else 1


def test_the_set_is_whole(goldens: Path, clips: dict[str, Tensor]) -> None:
    del goldens
    assert {f"{name.rsplit('/', 1)[0]}.{name.rsplit('/', 1)[1]}" for name in EXPECTED["pairs"]} == set(clips)
    assert all(frames.dtype == torch.uint8 for frames in clips.values())
