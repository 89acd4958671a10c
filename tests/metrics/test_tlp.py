"""tLP: its formula from LPIPS of pairs, TecoGAN's crop and range, features shared and stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from stvsr_bench.metrics.base import FrameBatch, build_metric
from stvsr_bench.metrics.catalog import CATALOG
from stvsr_bench.metrics.feature_store import FeatureStore
from stvsr_bench.metrics.planes import crop_8x8
from stvsr_bench.metrics.result import MetricResult
from stvsr_bench.nn.alexnet import AlexNetFeatures

Run = Callable[..., MetricResult]
Noise = Callable[..., torch.Tensor]


@pytest.mark.parametrize("cropped", [False, True])
def test_is_the_difference_of_lpips_between_frames(cropped: bool, run: Run, noise: Noise) -> None:
    pred, gt = noise(4, 70, 90, 1), noise(4, 70, 90, 2)
    rows, columns = crop_8x8(70, 90) if cropped else (slice(None), slice(None))
    change = [
        run(CATALOG["lpips_alex_v0.1"], c[1:, :, rows, columns], c[:-1, :, rows, columns]).values for c in (pred, gt)
    ]
    wanted = [100 * abs((a or 0) - (b or 0)) for a, b in zip(*change, strict=True)]
    found = run(CATALOG["tlp_crop_8x8" if cropped else "tlp_uncropped"], pred, gt, batch=3)
    assert min(wanted) > 0
    assert found.values == pytest.approx(wanted, rel=1e-6, abs=1e-9)


def test_tecogans_range(run: Run, noise: Noise) -> None:
    pred, gt = noise(8, 48, 48, 1), noise(8, 48, 48, 2)
    every = run(CATALOG["tlp_crop_8x8"], pred, gt)
    script = run(CATALOG["tlp_tecogan"], pred, gt)
    assert (script.index, script.values) == ((2, 3, 4), every.values[2:5])


@pytest.mark.parametrize("identifier", ["tlp_uncropped", "tlp_crop_8x8", "tlp_tecogan"])
def test_identical_and_black_clips_give_0(identifier: str, run: Run, noise: Noise) -> None:
    for frames in (noise(6, 48, 56), torch.zeros(6, 3, 48, 56, dtype=torch.uint8)):
        result = run(CATALOG[identifier], frames, frames)
        assert set(result.values) == {0}


def test_the_trunk_sees_every_frame_once(monkeypatch: pytest.MonkeyPatch, noise: Noise) -> None:
    """Whichever metric comes first, and although a batch's last frame serves the next batch too."""
    seen = []
    forward = AlexNetFeatures.forward

    def counted(self: AlexNetFeatures, x: torch.Tensor) -> object:
        seen.append(len(x))
        return forward(self, x)

    monkeypatch.setattr(AlexNetFeatures, "forward", counted)
    pred, gt = noise(5, 40, 40, 1), noise(5, 40, 40, 2)
    # tOF comes first and hands over the batch's last frame before AlexNet has seen it
    for ids in (
        ("tof_bf_stvsr", "tlp_uncropped", "lpips_alex_v0.1"),
        ("tof_bf_stvsr", "lpips_alex_v0.1", "tlp_uncropped"),
    ):
        seen.clear()
        metrics = [build_metric(CATALOG[i]) for i in ids]
        for metric in metrics:
            metric.setup("cpu")
        for begin in (0, 2, 4):
            frames = FrameBatch(pred[begin : begin + 2], gt[begin : begin + 2], range(begin, min(begin + 2, 5)))
            for metric in metrics:
                metric.update(frames)
        assert len(seen) == 2 * 5


def test_the_change_of_the_ground_truth_is_stored(tmp_path: Path, noise: Noise) -> None:
    pred, gt = noise(4, 40, 40, 1), noise(4, 40, 40, 2)
    results = []
    for _ in range(2):
        metric = build_metric(CATALOG["tlp_uncropped"])
        metric.setup("cpu")
        with FeatureStore(tmp_path) as store:
            for begin in (0, 2):
                metric.update(
                    FrameBatch(pred[begin : begin + 2], gt[begin : begin + 2], range(begin, begin + 2), store=store)
                )
        results.append(metric.compute())
    assert results[0] == results[1]
    assert (store.misses, store.hits) == (0, 3)  # three pairs, and no frame's features were asked for
