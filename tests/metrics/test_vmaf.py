"""VMAF through ffmpeg: our own luma, the distorted clip first, counts checked, files removed."""

from __future__ import annotations

import gc
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from stvsr_bench.core.errors import MetricError
from stvsr_bench.metrics import programs, vmaf_spool
from stvsr_bench.metrics.availability import lacking
from stvsr_bench.metrics.base import FrameBatch, build_metric
from stvsr_bench.metrics.catalog import CATALOG
from stvsr_bench.metrics.result import MetricResult
from stvsr_bench.metrics.vmaf import vmaf_luma
from stvsr_bench.metrics.vmaf_spool import VmafSpool

Run = Callable[..., MetricResult]
Noise = Callable[..., torch.Tensor]
VMAF, NEG = CATALOG["vmaf_v0.6.1"], CATALOG["vmaf_v0.6.1neg"]


@pytest.fixture(scope="module")
def ffmpeg() -> Path:
    """The program; required where the development extra is installed as continuous integration does."""
    problem = programs.missing_program(programs.LIBVMAF)
    if problem is not None:
        if os.environ.get("STVSR_BENCH_REQUIRE_WEIGHTS") == "1":
            pytest.fail(str(problem))
        pytest.skip(str(problem))
    return programs.ffmpeg_with_libvmaf()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of temporary files of its own."""
    monkeypatch.setattr(vmaf_spool.tempfile, "tempdir", str(tmp_path))
    return tmp_path


def pair(noise: Noise, count: int = 5, height: int = 48, width: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    gt = noise(count, height // 4, width // 4, 3).repeat_interleave(4, 2).repeat_interleave(4, 3)
    return (gt.int() + noise(count, height, width, 4).int() % 24).clamp(0, 255).to(torch.uint8), gt


def test_the_luma_is_matlabs_rounded(noise: Noise) -> None:
    frames = noise(2, 5, 7)
    r, g, b = (frames[:, i].double() for i in range(3))
    expected = (16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255 + 0.5).floor().to(torch.uint8)
    found = vmaf_luma(FrameBatch(frames, frames, [0, 1]), "pred")
    assert found.dtype == torch.uint8
    assert torch.equal(found, expected)
    white = torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)
    assert vmaf_luma(FrameBatch(white, white - 255, [0]), "pred").item() == 235
    assert vmaf_luma(FrameBatch(white, white - 255, [0]), "gt").item() == 16


def test_the_files_are_raw_frames(noise: Noise, temporary: Path) -> None:
    spool = VmafSpool("clip")
    spool.use("user", "vmaf_v0.6.1")
    first, second = (noise(2, 5, 7, seed)[:, 0] for seed in (1, 2))
    spool.append(first, second)
    spool.append(second[:1], first[:1])
    data = (spool.folder / "distorted.yuv").read_bytes()
    frame = 5 * 7 + 2 * 3 * 4  # chroma of odd sizes is rounded up
    assert len(data) == 3 * frame
    assert data[: 5 * 7] == first[0].numpy().tobytes()
    assert data[5 * 7 : frame] == b"\x80" * (2 * 3 * 4)
    assert data[2 * frame : 2 * frame + 35] == second[0].numpy().tobytes()
    assert (spool.folder / "reference.yuv").read_bytes()[:35] == second[0].numpy().tobytes()
    spool.release("user")
    assert list(temporary.iterdir()) == []


def test_identical_clips_give_the_documented_values(ffmpeg: Path, run: Run, noise: Noise) -> None:
    _, gt = pair(noise)
    result = run(VMAF, gt, gt)
    assert result.values[0] == pytest.approx(97.43, abs=0.005)
    assert result.values[1:] == pytest.approx((100.0,) * 4, abs=0.005)
    black = torch.zeros(3, 3, 64, 64, dtype=torch.uint8)
    assert run(VMAF, black, black).value == pytest.approx(97.43, abs=0.005)  # nothing moves


def test_batches_and_company_change_nothing(ffmpeg: Path, run: Run, noise: Noise) -> None:
    pred, gt = pair(noise)
    alone = [run(info, pred, gt, batch=5) for info in (VMAF, NEG)]
    assert alone[0] == run(VMAF, pred, gt, batch=1) == run(VMAF, pred, gt, batch=2)
    assert alone[0].value != alone[1].value
    metrics = [build_metric(info) for info in (VMAF, NEG)]
    for metric in metrics:
        metric.setup("cpu")
        metric.start("clip", 5)
    for start in (0, 2, 4):
        part = slice(start, start + 2)
        batch = FrameBatch(pred[part], gt[part], range(5)[part])
        for metric in metrics:
            metric.update(batch)
    assert [metric.compute() for metric in metrics] == alone
    assert [metric.compute() for metric in metrics] == alone


def test_models_side_by_side_share_files_and_run(
    ffmpeg: Path, noise: Noise, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pred, gt = pair(noise, 2)
    metrics = [build_metric(info) for info in (VMAF, NEG)]
    for metric in metrics:
        metric.setup("cpu")
        metric.start("clip", 2)
    batch = FrameBatch(pred, gt, [0, 1])
    for metric in metrics:
        metric.update(batch)
    assert len(list(temporary.iterdir())) == 1
    calls = []
    real = subprocess.run
    monkeypatch.setattr(vmaf_spool.subprocess, "run", lambda *a, **k: calls.append(a) or real(*a, **k))
    values = [metric.compute().value for metric in metrics]
    assert len(calls) == 1
    metrics[0].close()
    assert len(list(temporary.iterdir())) == 1
    assert metrics[1].compute().value == values[1]
    metrics[1].start("next", 2)  # the clip is forgotten, and its files with it
    assert list(temporary.iterdir()) == []


def test_a_batch_may_be_scored_again(ffmpeg: Path, run: Run, noise: Noise) -> None:
    pred, gt = pair(noise, 4)
    batches = [FrameBatch(pred[i : i + 2], gt[i : i + 2], [i, i + 1]) for i in (0, 2)]
    expected = run(VMAF, pred, gt)
    metric, other = build_metric(VMAF), build_metric(VMAF)
    for each in (metric, metric, other):  # `other` meets the files that `metric` still holds
        each.setup("cpu")
        each.start("clip", 4)
        for batch in batches:
            each.update(batch)
        assert each.compute() == expected
    assert metric.compute() == expected


def test_an_abandoned_metric_leaves_no_files(noise: Noise, temporary: Path, ffmpeg: Path) -> None:
    metric = build_metric(VMAF)
    pred, gt = pair(noise, 2)
    metric.update(FrameBatch(pred, gt, [0, 1]))
    assert len(list(temporary.iterdir())) == 1
    del metric
    gc.collect()
    assert list(temporary.iterdir()) == []


def test_the_distorted_clip_comes_first(ffmpeg: Path, run: Run, noise: Noise) -> None:
    _, gt = pair(noise, 3, 96, 128)
    blurred = torch.nn.functional.avg_pool2d(gt.float(), 9, 1, 4).to(torch.uint8)
    there, back = run(VMAF, blurred, gt).value, run(VMAF, gt, blurred).value
    assert there is not None
    assert back is not None
    assert there < back - 20  # lost detail is penalised; detail that the reference lacks is not


def test_frame_order_and_quality_count(ffmpeg: Path, run: Run, noise: Noise) -> None:
    pred, gt = pair(noise)
    near = (gt.int() + noise(5, 48, 64, 4).int() % 4).clamp(0, 255).to(torch.uint8)
    base = run(VMAF, pred, gt).value
    assert base is not None
    assert (run(VMAF, near, gt).value or 0) > base
    assert run(VMAF, pred.flip(0), gt).value != pytest.approx(base, abs=0.01)


def test_one_frame_odd_sizes_and_the_smallest(ffmpeg: Path, run: Run, noise: Noise) -> None:
    for height, width in ((17, 17), (33, 41), (17, 300)):
        result = run(VMAF, noise(1, height, width, 1), noise(1, height, width, 2))
        assert (result.n, result.reason) == (1, None)
        assert 0 <= (result.value or -1) <= 100
    with pytest.raises(MetricError, match="too small; got 17×16; accepted: at least 17×17"):
        run(VMAF, noise(1, 16, 17), noise(1, 16, 17))


def test_without_ground_truth_it_is_null(run: Run, noise: Noise, ffmpeg: Path) -> None:
    result = run(VMAF, noise(2, 32, 32), None)
    assert (result.value, result.n, result.reason) == (None, 0, "no ground truth")


def test_frames_that_do_not_match_are_refused(noise: Noise, temporary: Path) -> None:
    spool = VmafSpool("walk")
    spool.append(noise(1, 32, 32)[:, 0], noise(1, 32, 32)[:, 0])
    with pytest.raises(MetricError, match="clip 'walk': VMAF was given frames that do not match"):
        spool.append(noise(1, 32, 40)[:, 0], noise(1, 32, 40)[:, 0])
    with pytest.raises(MetricError, match=r"equal counts and one size"):
        spool.append(noise(2, 32, 32)[:, 0], noise(1, 32, 32)[:, 0])


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


FILTERS = 'case "$2" in -filters) echo " .. libvmaf VV->V x"; exit 0;; esac'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("echo broken pixels >&2; exit 9", "exit status 9: broken pixels"),
        ("""echo '{"frames": []}' > vmaf.json""", r"scores of frames \[\] … \(0\), 2 were given"),
        ("echo nothing > vmaf.json", "JSONDecodeError"),
        ("true", "FileNotFoundError"),
    ],
)
def test_a_program_that_fails_is_told_of(
    text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run, noise: Noise
) -> None:
    monkeypatch.setenv(programs.FFMPEG_VARIABLE, str(script(tmp_path / "ffmpeg", f"{FILTERS}\n{text}")))
    with pytest.raises(MetricError, match=rf"clip 'clip': ffmpeg's libvmaf failed; got {told}"):
        run(VMAF, noise(2, 32, 32), noise(2, 32, 32))


def test_which_program_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = script(tmp_path / "own ffmpeg", FILTERS)
    lame = script(tmp_path / "ffmpeg", "exit 0")
    monkeypatch.setenv(programs.FFMPEG_VARIABLE, str(own))
    assert programs.ffmpeg_with_libvmaf() == own
    monkeypatch.setenv(programs.FFMPEG_VARIABLE, str(lame))  # the user's choice is never passed over
    with pytest.raises(MetricError, match=r"\$STVSR_BENCH_FFMPEG '.*/ffmpeg' has no filter libvmaf"):
        programs.ffmpeg_with_libvmaf()
    monkeypatch.setenv(programs.FFMPEG_VARIABLE, str(tmp_path / "absent"))
    with pytest.raises(MetricError, match="cannot be run"):
        programs.ffmpeg_with_libvmaf()
    monkeypatch.delenv(programs.FFMPEG_VARIABLE)
    monkeypatch.setattr(programs, "_brought", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    problem = lacking(VMAF)
    assert problem is not None
    assert "has no filter libvmaf" in str(problem)
    assert "pip install 'stvsr-bench[vmaf]'" in str(problem)
    lame.unlink()
    assert "none installed" in str(lacking(VMAF))
    (tmp_path / "ffmpeg").symlink_to(own)
    programs._fault.cache_clear()
    assert lacking(VMAF) is None
    assert programs.missing_program("no_such_program_xyz") is not None


def test_a_full_disk_is_told_of(noise: Noise, temporary: Path) -> None:
    spool = VmafSpool("walk")
    (spool.folder / "distorted.yuv").mkdir()
    with pytest.raises(MetricError, match=r"VMAF's temporary files cannot be written.*\$TMPDIR"):
        spool.append(noise(1, 32, 32)[:, 0], noise(1, 32, 32)[:, 0])
