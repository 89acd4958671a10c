"""tOF: against its own formula in NumPy, the frames that scripts use, flows shared by several metrics."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch

from stvsr_bench.metrics.base import FrameBatch, build_metric
from stvsr_bench.metrics.catalog import CATALOG
from stvsr_bench.metrics.features import FARNEBACK
from stvsr_bench.metrics.result import MetricResult

Run = Callable[..., MetricResult]
Noise = Callable[..., torch.Tensor]


def smooth(count: int, height: int, width: int, seed: int) -> torch.Tensor:
    """Frames whose motion Farneback can follow: a blurred texture moving by whole pixels."""
    generator = np.random.default_rng(seed)
    texture = cv2.GaussianBlur(generator.integers(0, 256, (height + 40, width + 40, 3), dtype=np.uint8), (0, 0), 3)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    steps = generator.integers(0, 4, (count, 2)).cumsum(0)
    frames = np.stack([texture[y : y + height, x : x + width] for y, x in steps])
    return torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous()


def reference(pred: torch.Tensor, gt: torch.Tensor, *, rounded: bool, crop: bool) -> list[float]:
    """The formula of metrics.md, pair by pair."""

    def flows(frames: torch.Tensor) -> list[np.ndarray]:
        images = [f.permute(1, 2, 0).contiguous().numpy() for f in frames]
        gray = [cv2.cvtColor(i if rounded else i.astype(np.float32), cv2.COLOR_RGB2GRAY) for i in images]
        found = [cv2.calcOpticalFlowFarneback(a, b, None, *FARNEBACK) for a, b in pairwise(gray)]
        if not crop:
            return found
        height, width = found[0].shape[:2]
        h, w = ((side - 16) // 32 * 32 for side in (height, width))
        top, left = (height - h) // 2, (width - w) // 2
        return [flow[top : top + h, left : left + w] for flow in found]

    return [float(np.linalg.norm(a - b, axis=2).mean()) for a, b in zip(flows(gt), flows(pred), strict=True)]


@pytest.mark.parametrize(
    ("identifier", "rounded", "crop"),
    [("tof_tecogan_all_pairs", True, True), ("tof_u8_uncropped", True, False), ("tof_bf_stvsr", False, False)],
)
def test_equals_the_formula(identifier: str, rounded: bool, crop: bool, run: Run) -> None:
    pred, gt = smooth(4, 81, 97, 1), smooth(4, 81, 97, 2)
    wanted = reference(pred, gt, rounded=rounded, crop=crop)
    assert min(wanted) > 0.1
    assert run(CATALOG[identifier], pred, gt, batch=3).values == pytest.approx(wanted, rel=1e-5)


def test_tecogans_script_leaves_out_two_frames_at_both_ends(run: Run) -> None:
    pred, gt = smooth(9, 64, 64, 1), smooth(9, 64, 64, 2)
    script, every = run(CATALOG["tof_tecogan"], pred, gt), run(CATALOG["tof_tecogan_all_pairs"], pred, gt)
    assert script.index == (2, 3, 4, 5)  # N - 5 pairs, the first from the third frame to the fourth
    assert script.values == every.values[2:6]
    assert script.value == math.fsum(every.values[2:6]) / 4


def test_xvfi_takes_the_restored_first_frame_for_both(run: Run) -> None:
    pred, gt = smooth(5, 48, 56, 1), smooth(5, 48, 56, 2)
    result = run(CATALOG["tof_xvfi"], pred, gt, batch=2)
    mixed = torch.cat([pred[:1], gt[1:]])
    assert result.values == run(CATALOG["tof_bf_stvsr"], pred, mixed).values[:3]
    assert result.values[0] != run(CATALOG["tof_bf_stvsr"], pred, gt).values[0]
    for batch in (1, 3, 5):
        assert run(CATALOG["tof_xvfi"], pred, gt, batch=batch) == result


@pytest.mark.parametrize("identifier", [i for i in CATALOG if i.startswith("tof_")])
def test_identical_clips_give_0(identifier: str, run: Run, noise: Noise) -> None:
    frames = noise(6, 64, 72)
    result = run(CATALOG[identifier], frames, frames)
    assert result.value == 0
    assert set(result.values) == {0}
    black = torch.zeros(6, 3, 64, 72, dtype=torch.uint8)
    assert run(CATALOG[identifier], black, black).value == 0


def test_metrics_share_the_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    flow = cv2.calcOpticalFlowFarneback

    def counted(*arguments: object) -> np.ndarray:
        calls.append(arguments)
        return flow(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(cv2, "calcOpticalFlowFarneback", counted)
    pred, gt = smooth(5, 64, 64, 1), smooth(5, 64, 64, 2)
    metrics = [build_metric(CATALOG[i]) for i in ("tof_tecogan", "tof_tecogan_all_pairs", "warping_error_lai")]
    for begin in (0, 2, 4):
        frames = FrameBatch(pred[begin : begin + 2], gt[begin : begin + 2], range(begin, min(begin + 2, 5)))
        for metric in metrics:
            metric.update(frames)
    assert len(calls) == 4 * 3  # of four pairs: forward on both sides, backward on the true one


def test_frame_order_matters(run: Run) -> None:
    pred, gt = smooth(6, 64, 64, 1), smooth(6, 64, 64, 2)
    info = CATALOG["tof_tecogan_all_pairs"]
    assert run(info, pred, gt).value != run(info, pred[[0, 2, 1, 3, 4, 5]], gt).value
