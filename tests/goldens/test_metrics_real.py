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

from stvsr_bench.core.errors import MetricError
from stvsr_bench.metrics.base import FrameBatch, build_metric
from stvsr_bench.metrics.catalog import CATALOG
from stvsr_bench.metrics.lpips import Lpips
from stvsr_bench.metrics.planes import crop_8x8
from stvsr_bench.metrics.tlp import Tlp
from stvsr_bench.weights.known import weight_spec

_GIVEN = os.environ.get("STVSR_BENCH_GOLDENS")
FOLDER = (Path(_GIVEN) if _GIVEN else Path(__file__).resolve().parents[3] / "shared" / "goldens") / "metrics_real"
EXPECTED: dict[str, Any] = (
    json.loads((FOLDER / "expected.json").read_text())
    if FOLDER.is_dir()
    else {"pairs": {}, "weights_used": {}, "tensor_hashes": {}}
)

METRICS = {
    "lpips_alex": "lpips_alex_v0.1",
    "lpips_vgg": "lpips_vgg_v0.1",
    "stlpips_alex": "stlpips_alex",
    "stlpips_vgg": "stlpips_vgg",
    "dists": "dists",
}
"""What the set calls a metric, and our id."""
ATOL = 1e-6
TLP = {"full": "tlp_uncropped", "crop_8x8": "tlp_crop_8x8"}
"""What the set calls the two forms of tLP, and our ids."""

_ALL = [(pair, metric) for pair, metrics in EXPECTED["pairs"].items() for metric in metrics]
CASES = [(pair, metric) for pair, metric in _ALL if metric in METRICS]
TLP_CASES = [(pair, metric) for pair, metric in _ALL if metric == "tlp"]
LEFT_OUT = [(pair, metric) for pair, metric in _ALL if metric not in METRICS and metric != "tlp"]
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
        assert isinstance(scorer, Lpips)
        (layers,) = scorer.layers(FrameBatch(pred[:1], gt[:1], [0]))
        assert layers == pytest.approx(expected["layers_frame0"], rel=0, abs=ATOL)
        assert math.fsum(layers) == result.values[0]
        compared.add("layers_frame0")
        count += len(layers)
    assert compared == set(expected)
    assert count == _count(expected)
    COMPARED[pair, metric] = count


@pytest.mark.parametrize("pair", [pair for pair, _ in TLP_CASES])
def test_tlp(pair: str, clips: dict[str, Tensor], require_weights: Callable[..., None]) -> None:
    """Both forms of tLP, with LPIPS from frame to frame on either side."""
    expected = EXPECTED["pairs"][pair]["tlp"]
    clip, kind = pair.rsplit("/", 1)
    pred, gt = clips[f"{clip}.{kind}"], clips[f"{clip}.gt"]
    count = 0
    for form, wanted in expected.items():
        info = CATALOG[TLP[form]]
        require_weights(*info.weights)
        scorer = build_metric(info)
        assert isinstance(scorer, Tlp)
        scorer.setup("cpu")
        batch = FrameBatch(pred, gt, range(len(pred)))
        scorer.update(batch)
        result = scorer.compute()
        found: dict[str, Any] = {
            "lp_gt": scorer.changes(batch, None, "gt"),
            "lp_out": scorer.changes(batch, None, "pred"),
            "per_pair": list(result.values),
            "mean": result.value,
        }
        if form == "crop_8x8":
            rows, columns = crop_8x8(*pred.shape[2:])
            starts, stops = (rows.start, columns.start), (rows.stop, columns.stop)
            found["crop"] = [*starts, *(b - a for a, b in zip(starts, stops, strict=True))]
        assert found.keys() == wanted.keys()
        for name, value in found.items():
            atol = 0 if name == "crop" or (kind == "gt" and not name.startswith("lp_")) else ATOL
            assert value == pytest.approx(
                wanted[name], rel=0, abs=1e-4 if name in ("per_pair", "mean") and atol else atol
            )
        count += _count(wanted)
    if "crop_8x8" not in expected:
        with pytest.raises(MetricError, match="too small"):
            build_metric(CATALOG["tlp_crop_8x8"]).update(FrameBatch(pred, gt, range(len(pred))))
    assert count == _count(expected)
    COMPARED[pair, "tlp"] = count


def test_count(goldens: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was compared is what the file holds, and only metrics that this version lacks are left out."""
    del goldens
    missing = [" ".join(case) for case in (*CASES, *TLP_CASES) if case not in COMPARED]
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
