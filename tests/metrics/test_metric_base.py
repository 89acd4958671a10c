"""The catalogue, the batch and its shared features, and the building of plug-in metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from stvsr_bench.core.errors import MetricError, UnknownNameError
from stvsr_bench.metrics.base import FrameBatch, Metric, build_metric
from stvsr_bench.metrics.catalog import CATALOG, MetricInfo, find_metric
from stvsr_bench.metrics.result import MetricResult, finite_mean, subset

Run = Callable[..., MetricResult]
Noise = Callable[..., torch.Tensor]
PLUG_IN = MetricInfo(
    id="mine",
    version=1,
    title="Mine",
    conventions="for tests",
    unit="1",
    higher_is_better=True,
    reference="none",
    level="frame",
    entry=f"{__name__}:Given",
)


class Given(Metric):
    """Returns the top left sample, and what is not finite for 0, 1 and 2."""

    def score(self, batch: FrameBatch, previous: FrameBatch | None) -> Sequence[float]:
        special = {0: math.nan, 1: math.inf, 2: -math.inf}
        return [special.get(int(f[0, 0, 0]), float(f[0, 0, 0])) for f in batch.u8("pred")]


def test_ids_and_aliases_name_one_metric_each() -> None:
    names = [n for info in CATALOG.values() for n in (info.id, *info.aliases)]
    assert len(names) == len(set(names))
    kept = {
        *("psnr_rgb", "psnr_rgb_crop4", "psnr_y_crop0", "psnr_y_crop4"),
        *("ssim_rgb", "ssim_rgb_crop4", "ssim_y_crop0", "ssim_y_crop4"),
        *("lpips_alex_v0.1", "lpips_vgg_v0.1", "vbench_temporal_flickering"),
    }
    assert kept < set(CATALOG)
    for key, info in CATALOG.items():
        assert info.id == key
        assert build_metric(info).info is info
        assert "mean over" in info.conventions
        assert info.source


def test_unknown_names_list_the_nearest() -> None:
    assert find_metric("psnr_rgb_crop0").id == "psnr_rgb"
    with pytest.raises(UnknownNameError, match=r"unknown metric 'psnr_y_crop5'.*nearest known: psnr_y_crop4"):
        find_metric("psnr_y_crop5")
    assert find_metric("mine", [PLUG_IN]) is PLUG_IN


def test_every_config_lists_known_ids_once(repository: Path) -> None:
    files = sorted((repository / "conf" / "metrics").glob("*.yaml"))
    assert "default.yaml" in {f.name for f in files}
    for file in files:
        content = yaml.safe_load(file.read_text())
        assert set(content) == {"ids"}
        if file.stem == "auto":  # stands for the group that the protocol names
            assert content["ids"] == "auto"
            continue
        assert len(content["ids"]) == len(set(content["ids"]))
        assert set(content["ids"]) <= set(CATALOG), file.name
    default, perceptual = (
        set(yaml.safe_load((repository / f"conf/metrics/{name}.yaml").read_text())["ids"])
        for name in ("default", "perceptual")
    )
    assert default < {name for name, info in CATALOG.items() if not (info.weights or info.needs or info.program)}
    assert perceptual == default | {"lpips_alex_v0.1"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "Mine!"}, "'Mine!' is not valid"),
        ({"aliases": ("a b",)}, "'a b' is not valid"),
        ({"entry": "module.Class"}, "wrong entry"),
        ({"version": 0}, "wrong version"),
        ({"reference": "some"}, "wrong reference"),
        ({"level": "video"}, "wrong level"),
    ],
)
def test_a_plug_in_with_wrong_facts_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(MetricError, match=message):
        replace(PLUG_IN, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"entry": "no_such_module_here:Mine"}, "metric 'mine': cannot import no_such_module_here:Mine"),
        ({"entry": "math:Mine"}, "cannot import math:Mine"),
        ({"entry": "math:sqrt"}, "is no metric"),
        ({"params": {"colour": "y"}}, "does not take its parameters"),
    ],
)
def test_a_plug_in_that_cannot_be_built_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(MetricError, match=message):
        build_metric(replace(PLUG_IN, **change))  # type: ignore[arg-type]


def test_what_is_not_finite_is_null_with_a_reason(run: Run) -> None:
    frames = torch.tensor([0, 10, 1, 20, 2], dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 3, 4, 4)
    result = run(PLUG_IN, frames, None, batch=2)
    assert result.values == (None, 10.0, None, 20.0, None)
    assert (result.value, result.n, result.reason) == (15.0, 2, None)
    assert [(e.index, e.reason) for e in result.excluded] == [
        (0, "the value is nan"),
        (2, "the value is inf"),
        (4, "the value is -inf"),
    ]
    nothing = run(PLUG_IN, frames[::2], None)
    assert (nothing.value, nothing.n) == (None, 0)
    assert nothing.reason == "the value is -inf; the value is inf; the value is nan"


def test_a_metric_that_returns_the_wrong_count_is_refused(monkeypatch: pytest.MonkeyPatch, noise: Noise) -> None:
    monkeypatch.setattr(Given, "score", lambda self, batch, previous: [1.0])
    with pytest.raises(MetricError, match="broke its contract; got 1 values for 2 frames"):
        build_metric(PLUG_IN).update(FrameBatch(noise(2, 4, 4), None, [0, 1]))


def test_no_frames_at_all() -> None:
    result = build_metric(PLUG_IN).compute()
    assert (result.value, result.n, result.values) == (None, 0, ())
    assert result.reason == "needs at least 1 frames, got 0"
    assert subset(result, [0]) == (None, 0, result.reason)


def test_subsets_of_frames(run: Run) -> None:
    frames = torch.tensor([0, 10, 20, 40], dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 3, 4, 4)
    result = run(PLUG_IN, frames, None)
    assert subset(result, [1, 3]) == (25.0, 2, None)
    assert subset(result, [0, 2]) == (20.0, 1, None)
    assert subset(result, [0]) == (None, 0, "the value is nan")
    assert subset(result, [9]) == (None, 0, "no frame in this subset")


def test_the_mean_does_not_depend_on_the_order() -> None:
    values = [0.1, 1e16, -1e16, 0.3, 0.7]
    assert finite_mean(values) == finite_mean(values[::-1]) == finite_mean(sorted(values))


def test_batches_that_cannot_be_scored_are_refused(noise: Noise) -> None:
    a = noise(2, 8, 9)
    with pytest.raises(
        MetricError, match=r"clip 'walk': .* differ in frames; got prediction 2 frames of 9×8, ground truth 1"
    ):
        FrameBatch(a, a[:1], [0, 1], clip="walk")
    with pytest.raises(MetricError, match=r"differ in size; .*9×8.*8×8"):
        FrameBatch(a, a[..., :8], [0, 1])
    for wrong in (a.float() / 255, a[0], a[:, :1], a[:0]):
        with pytest.raises(MetricError, match="prediction cannot be scored"):
            FrameBatch(wrong, None, range(len(wrong)))
    with pytest.raises(MetricError, match="ground truth cannot be scored"):
        FrameBatch(a, a.float(), [0, 1])
    for index in ([0], [1, 1], [2, 1]):
        with pytest.raises(MetricError, match="wrong frame numbers"):
            FrameBatch(a, None, index)
    with pytest.raises(MetricError, match="asked for ground truth"):
        FrameBatch(a, None, [0, 1]).u8("gt")


def test_features_are_made_once_and_go_into_the_tail(noise: Noise) -> None:
    batch = FrameBatch(noise(3, 8, 8, 1), noise(3, 8, 8, 2), [4, 5, 6])
    calls = []

    def make() -> list[torch.Tensor]:
        calls.append(1)
        return [torch.arange(3.0), torch.arange(3.0).view(3, 1) * 2]

    first = batch.feature("pred", "pyramid", make)
    assert batch.feature("pred", "pyramid", make) is first
    assert batch.feature("gt", "pyramid", make) is not first
    tail = batch.tail()
    assert batch.tail() is tail
    assert (tail.index, len(tail)) == ((6,), 1)
    assert [v.tolist() for v in tail.feature("pred", "pyramid", make)] == [[2.0], [[4.0]]]
    assert len(calls) == 2
    assert torch.equal(tail.y("gt"), batch.y("gt")[-1:])
    assert batch.rgb("pred").dtype == torch.float32
    assert float(batch.rgb("pred").max()) <= 1


def test_luma_is_matlabs() -> None:
    colours = torch.tensor([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], dtype=torch.uint8)
    batch = FrameBatch(colours.view(5, 3, 1, 1), None, range(5))
    want = [16, 235, 81.481, 144.553, 40.966]
    assert batch.y("pred").flatten().tolist() == pytest.approx(want, abs=1e-12)
