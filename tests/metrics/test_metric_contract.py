"""What every metric of the catalogue must do, whatever it measures."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from stvsr_bench.core.errors import MetricError
from stvsr_bench.metrics.base import FrameBatch, build_metric
from stvsr_bench.metrics.catalog import CATALOG, MetricInfo
from stvsr_bench.metrics.result import MetricResult

Run = Callable[..., MetricResult]
Noise = Callable[..., torch.Tensor]

ELSEWHERE: dict[str, str] = {
    "dover_": "test_dover.py",
    "fastervqa_": "test_dover.py",
    "psnr_rgb_pooled": "test_psnr.py",
    "flolpips_raft": "test_raft_metrics.py",
    "ewarp_": "test_raft_metrics.py",
    "clipiqa_": "test_pyiqa_metrics.py",
    "musiq_": "test_pyiqa_metrics.py",
    "maniqa_": "test_pyiqa_metrics.py",
    "ilniqe": "test_pyiqa_metrics.py",
    "nrqm": "test_pyiqa_metrics.py",
    "vmaf_": "test_vmaf.py",
}
"""By the prefix of their ids, the test files of the metrics that are not generic."""
GENERIC = [
    i
    for i in CATALOG.values()
    if i.level != "clip" and not i.needs and i.program is None and not i.id.startswith(tuple(ELSEWHERE))
]
"""Metrics that run here within seconds; the others have the same tests in files of their own."""
ASYMMETRIC = frozenset({"ssim_tecogan", "ssim_xvfi", "tof_xvfi", "warping_error_lai"})
"""Full-reference metrics that change when prediction and ground truth change places, as their references do."""

every_metric = pytest.mark.parametrize("info", GENERIC, ids=lambda i: i.id)
full_reference = pytest.mark.parametrize("info", [i for i in GENERIC if i.reference == "full"], ids=lambda i: i.id)


def _size(info: MetricInfo) -> tuple[int, int]:
    return max(33, info.min_height), max(41, info.min_width)


def _count(info: MetricInfo, count: int) -> int:
    """``count`` frames, and those that the metric leaves out at the clip's ends."""
    return max(count, info.min_frames) + sum(info.skip)


def test_no_metric_is_left_out() -> None:
    left = {info.id for info in CATALOG.values() if info not in GENERIC}
    assert {name for name in left if not any(name.startswith(prefix) for prefix in ELSEWHERE)} == set()
    assert all((Path(__file__).parent / file).is_file() for file in ELSEWHERE.values())


@every_metric
def test_batch_size_changes_no_bit(info: MetricInfo, run: Run, noise: Noise) -> None:
    pred, gt = noise(_count(info, 7), *_size(info), 1), noise(_count(info, 7), *_size(info), 2)
    whole = run(info, pred, gt, batch=len(pred))
    assert whole.value is not None
    for batch in (1, 2, 3):
        assert run(info, pred, gt, batch=batch) == whole


@every_metric
def test_thread_count_changes_no_bit(info: MetricInfo, run: Run, noise: Noise) -> None:
    """A network's convolutions may add in another order with other threads; what is ours may not."""
    height, width = (96, 128) if info.weights else (240, 320)
    height, width = max(height, info.min_height), max(width, info.min_width)
    pred, gt = noise(_count(info, 2), height, width, 1), noise(_count(info, 2), height, width, 2)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(run(info, pred, gt))
    finally:
        torch.set_num_threads(threads)
    if info.weights:
        assert [r.values for r in results] == [pytest.approx(results[0].values, rel=1e-6)] * 3
    else:
        assert results[0] == results[1] == results[2]


@every_metric
def test_one_value_per_frame_or_pair_and_their_mean(info: MetricInfo, run: Run, noise: Noise) -> None:
    count, (head, tail) = _count(info, 5), info.skip
    result = run(info, noise(count, *_size(info), 1), noise(count, *_size(info), 2), index=range(3, 3 + count))
    values = count if info.level == "frame" else count - 1
    assert result.index == tuple(range(3 + head, 3 + values - tail))
    assert len(result.values) == len(result.index) == result.n
    assert result.value == math.fsum(v for v in result.values if v is not None) / result.n
    assert result.reason is None
    json.dumps(result.values, allow_nan=False)


@every_metric
def test_smallest_size_is_scored_and_smaller_is_refused(info: MetricInfo, run: Run, noise: Noise) -> None:
    height, width, count = info.min_height, info.min_width, _count(info, 1)
    result = run(info, noise(count, height, width, 1), noise(count, height, width, 2))
    assert result.value is not None
    assert math.isfinite(result.value)
    for h, w in ((height - 1, width), (height, width - 1)):
        if h and w:
            with pytest.raises(
                MetricError, match=rf"metric '{info.id}'.*too small; got {w}×{h}; accepted: .*{width}×{height}"
            ):
                run(info, noise(count, h, w, 1), noise(count, h, w, 2))


@every_metric
def test_one_frame(info: MetricInfo, run: Run, noise: Noise) -> None:
    result = run(info, noise(1, *_size(info), 1), noise(1, *_size(info), 2))
    if info.min_frames == 1:
        assert (result.n, result.value) == (1, result.values[0])
    else:
        assert (result.value, result.n, result.values) == (None, 0, ())
        assert result.reason == f"needs at least {info.min_frames} frames, got 1"


@every_metric
def test_a_start_forgets_the_clip(info: MetricInfo, run: Run, noise: Noise) -> None:
    count = _count(info, 3)
    pred, gt = noise(count, *_size(info), 1), noise(count, *_size(info), 2)
    metric = build_metric(info)
    metric.setup("cpu")
    metric.start("other", count)
    metric.update(FrameBatch(gt, pred, range(5, 5 + count)))
    metric.start("clip", count)
    metric.update(FrameBatch(pred, gt, range(count)))
    assert metric.compute() == run(info, pred, gt)


@full_reference
def test_without_ground_truth_it_is_null_and_says_so(info: MetricInfo, run: Run, noise: Noise) -> None:
    result = run(info, noise(3, *_size(info)), None)
    assert (result.value, result.n, result.reason) == (None, 0, "no ground truth")


@full_reference
def test_ground_truth_for_a_part_of_the_clip_is_refused(info: MetricInfo, noise: Noise) -> None:
    metric = build_metric(info)
    metric.setup("cpu")
    frames = noise(1, *_size(info))
    metric.update(FrameBatch(frames, frames, [0]))
    with pytest.raises(MetricError, match="only a part of clip 'clip' has ground truth"):
        metric.update(FrameBatch(frames, None, [1]))


@full_reference
def test_symmetric_and_sensitive_to_a_shift_of_one_pixel(info: MetricInfo, run: Run) -> None:
    height, width = max(40, info.min_height), max(52, info.min_width)
    count = _count(info, 3)
    t, y, x = torch.meshgrid(
        torch.arange(float(count)), *(torch.arange(float(n)) for n in (height, width)), indexing="ij"
    )
    wave = 127 + 60 * torch.sin((x + t) / 4) + 60 * torch.cos((y - t) / 5)
    gt = wave.round().to(torch.uint8)[:, None].expand(count, 3, height, width)
    near = (gt.int() + torch.arange(width) % 2).to(torch.uint8)
    shifted = gt.roll(1, 3) if info.level == "frame" else torch.stack([f.roll(i % 2 * 2, 2) for i, f in enumerate(gt)])
    if info.id not in ASYMMETRIC:
        assert run(info, shifted, gt) == run(info, gt, shifted)
    small, large = run(info, near, gt).value, run(info, shifted, gt).value
    assert small is not None
    assert large is not None
    assert (small > large) is info.higher_is_better


@every_metric
def test_frames_out_of_order_are_refused(info: MetricInfo, noise: Noise) -> None:
    metric = build_metric(info)
    metric.setup("cpu")
    frames = noise(1, *_size(info))
    metric.update(FrameBatch(frames, frames, [4]))
    with pytest.raises(MetricError, match="frame 4 after frame 4"):
        metric.update(FrameBatch(frames, frames, [4]))


@every_metric
def test_frames_need_not_be_contiguous_in_memory(info: MetricInfo, run: Run, noise: Noise) -> None:
    count = _count(info, 3)
    pred, gt = noise(count, *_size(info), 1), noise(count, *_size(info), 2)

    def channels_last(x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)

    assert run(info, channels_last(pred), channels_last(gt)) == run(info, pred, gt)


def test_the_catalogue_imports_no_torch() -> None:
    code = "import sys, stvsr_bench.metrics.catalog, stvsr_bench.metrics.result; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_metric
def test_a_gpu_agrees_with_the_cpu(info: MetricInfo, run: Run, noise: Noise) -> None:
    size = max(96, info.min_height), max(128, info.min_width)
    pred, gt = noise(_count(info, 3), *size, 1), noise(_count(info, 3), *size, 2)
    on_cpu, on_gpu = run(info, pred, gt), run(info, pred, gt, device="cuda")
    # a GPU's convolutions add in another order
    assert on_gpu.value == pytest.approx(on_cpu.value, abs=1e-5 if info.weights else 1e-9)
    assert run(info, pred, gt, batch=1, device="cuda") == on_gpu
