"""Features of the ground truth kept on disk: the same values, found by pixels, never half a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from stvsr_bench.metrics.base import FrameBatch, build_metric
from stvsr_bench.metrics.catalog import CATALOG
from stvsr_bench.metrics.feature_store import FeatureStore

IDS = ("lpips_alex_v0.1", "tof_tecogan_all_pairs", "tlp_uncropped", "warping_error_lai", "flolpips")


def score(pred: torch.Tensor, gt: torch.Tensor, store: FeatureStore | None, size: int = 2) -> dict[str, object]:
    metrics = [build_metric(CATALOG[name]) for name in IDS]
    for metric in metrics:
        metric.setup("cpu")
        metric.start("clip", len(pred))
    for begin in range(0, len(pred), size):
        part = slice(begin, begin + size)
        batch = FrameBatch(pred[part], gt[part], range(len(pred))[part], store=store)
        for metric in metrics:
            metric.update(batch)
    return {metric.info.id: metric.compute() for metric in metrics}


@pytest.fixture
def clips(noise: object) -> tuple[torch.Tensor, torch.Tensor]:
    return noise(5, 64, 80, 1), noise(5, 64, 80, 2)  # type: ignore[operator]


def test_values_are_the_same_to_the_last_bit(tmp_path: Path, clips: tuple[torch.Tensor, torch.Tensor]) -> None:
    alone = score(*clips, None)
    for size in (2, 3):
        with FeatureStore(tmp_path) as store:
            assert score(*clips, store, size) == alone
        assert (store.misses > 0) is (size == 2)
    assert store.hits > 0
    with FeatureStore(tmp_path) as store:  # another method on the same ground truth
        assert score(clips[1].flip(3), clips[1], store) == score(clips[1].flip(3), clips[1], None)
    assert store.misses == 0


def test_other_pixels_are_other_features(tmp_path: Path, clips: tuple[torch.Tensor, torch.Tensor]) -> None:
    pred, gt = clips
    with FeatureStore(tmp_path) as store:
        score(pred, gt, store)
    changed = gt.clone()
    changed[2, 0, 5, 5] += 1
    with FeatureStore(tmp_path) as store:
        assert score(pred, changed, store) == score(pred, changed, None)
    assert store.misses > 0


def test_a_damaged_file_is_made_again(tmp_path: Path, clips: tuple[torch.Tensor, torch.Tensor]) -> None:
    with FeatureStore(tmp_path) as store:
        alone = score(*clips, store)
    files = sorted(tmp_path.rglob("*.safetensors"))
    assert files
    for file in files:
        file.write_bytes(file.read_bytes()[:-20])
    with FeatureStore(tmp_path) as store:
        assert score(*clips, store) == alone
    assert store.hits == 0


def test_a_full_or_closed_disk_only_leaves_a_note(tmp_path: Path, clips: tuple[torch.Tensor, torch.Tensor]) -> None:
    with FeatureStore(tmp_path / "small", limit_bytes=1000) as store:
        assert score(*clips, store) == score(*clips, None)
    assert "reached" in str(store.note)
    (tmp_path / "file").write_text("")
    with FeatureStore(tmp_path / "file" / "below") as store:
        assert score(*clips, store) == score(*clips, None)
    assert "not kept" in str(store.note)


def test_what_a_killed_process_left_is_swept_and_what_another_writes_is_not(
    tmp_path: Path, clips: tuple[torch.Tensor, torch.Tensor]
) -> None:
    left, fresh = tmp_path / "a" / ".tmp-left.safetensors", tmp_path / "a" / ".tmp-fresh.safetensors"
    left.parent.mkdir()
    for file in (left, fresh):
        file.write_bytes(b"half")
    os.utime(left, (0, 0))
    with FeatureStore(tmp_path) as store:
        score(*clips, store)
    assert not left.exists()
    assert fresh.exists()
