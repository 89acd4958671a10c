"""Warping errors: known motions, masks by hand, both ways of warping, halving as E* does it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
import torch
import torch.nn.functional as F

from stvsr_bench.metrics.base import FrameBatch, build_metric
from stvsr_bench.metrics.catalog import CATALOG
from stvsr_bench.metrics.feature_store import FeatureStore
from stvsr_bench.metrics.functional import warping
from stvsr_bench.metrics.functional.warping import halved, lai_error, occluded, warping_error
from stvsr_bench.metrics.result import MetricResult

Run = Callable[..., MetricResult]
Noise = Callable[..., torch.Tensor]
INFO = CATALOG["warping_error_lai"]


def still(height: int, width: int, dx: float = 0.0, dy: float = 0.0) -> torch.Tensor:
    return torch.tensor([float(dx), float(dy)]).view(1, 2, 1, 1).expand(1, 2, height, width).contiguous()


def test_consistent_motion_hides_nothing() -> None:
    assert not occluded(still(8, 9, 3, -2), still(8, 9, -3, 2)).any()


def test_hidden_where_the_motion_back_differs() -> None:
    back = still(8, 9)
    back[:, :, 2:4, 3:6] = 2.0
    hidden = occluded(still(8, 9), back)
    assert int(hidden.sum()) == 6
    assert hidden[2:4, 3:6].all()
    small = still(8, 9, 0.5, 0.49)  # 0.4901 of at most 0.5 + 0.01 * 0.4901
    assert not occluded(still(8, 9), small).any()
    assert occluded(still(8, 9), still(8, 9, 0.52, 0.5)).all()  # 0.5204 of 0.5052


def test_a_motion_boundary_is_hidden_on_its_first_pixel() -> None:
    forward = still(8, 9)
    forward[0, 0, :, 5:] = 0.05  # 0.0025 of at most 0.002 + 0.01 * 0
    hidden = occluded(forward, -forward)
    assert hidden[:, 4].all()
    assert int(hidden.sum()) == 8
    forward[0, 0, :, 5:] = 0.04
    assert not occluded(forward, -forward).any()
    down = still(8, 9)
    down[0, 1, 3:] = 0.05
    hidden = occluded(down, -down)
    assert hidden[2].all()
    assert int(hidden.sum()) == 9


def test_a_known_motion_warps_without_error(noise: Noise) -> None:
    texture = noise(1, 30, 40)[0].permute(1, 2, 0)
    first, second = texture[2:, 3:].contiguous(), texture[:-2, :-3].contiguous()  # everything moves by (3, 2)
    hidden = torch.zeros(28, 37, dtype=torch.bool)
    hidden[-2:], hidden[:, -3:] = True, True  # leaves the frame
    flow = still(28, 37, 3, 2).permute(0, 2, 3, 1)[0].contiguous()
    assert lai_error(first, second, flow, hidden) == pytest.approx(0, abs=1e-12)
    assert lai_error(first, second, flow, torch.zeros_like(hidden)) > 1e-3
    assert lai_error(first, second, -flow, hidden) > 1e-2


def test_a_constant_offset_counts_squared() -> None:
    first = torch.full((6, 7, 3), 100, dtype=torch.uint8)
    hidden = torch.zeros(6, 7, dtype=torch.bool)
    hidden[0, 0] = True
    value = lai_error(first, first + 51, torch.rand(6, 7, 2), hidden)
    assert value == pytest.approx(0.04, rel=1e-6)


def test_both_ways_of_warping_agree(monkeypatch: pytest.MonkeyPatch, noise: Noise) -> None:
    first, second = noise(2, 50, 60).permute(0, 2, 3, 1).contiguous()
    generator = torch.Generator().manual_seed(3)
    flow = torch.randn(50, 60, 2, generator=generator) * 4  # some of it leaves the frame
    hidden = torch.rand(50, 60, generator=generator) > 0.6
    value = lai_error(first, second, flow, hidden)
    planes = [frame.permute(2, 0, 1)[None].double() / 255 for frame in (first, second)]
    wanted = warping_error(planes[0].float(), planes[1].float(), flow.permute(2, 0, 1)[None], hidden) / 3
    assert value == pytest.approx(wanted, rel=1e-5)
    monkeypatch.setattr(warping, "_remap_is_exact", lambda: False)
    assert lai_error(first, second, flow, hidden) == pytest.approx(value, rel=1e-5)


def test_the_probe_finds_a_rounding_remap(monkeypatch: pytest.MonkeyPatch) -> None:
    remap = cv2.remap
    monkeypatch.setattr(cv2, "remap", lambda image, x, y, *more: remap(image, (x * 32).round() / 32, y, *more))
    warping._remap_is_exact.cache_clear()
    assert not warping._remap_is_exact()
    monkeypatch.undo()
    warping._remap_is_exact.cache_clear()


def test_nothing_visible_gives_no_value() -> None:
    frame = torch.zeros(4, 5, 3, dtype=torch.uint8)
    assert math.isnan(lai_error(frame, frame, torch.zeros(4, 5, 2), torch.ones(4, 5, dtype=torch.bool)))
    planes, every = torch.zeros(1, 3, 4, 5), torch.ones(4, 5, dtype=torch.bool)
    assert math.isnan(warping_error(planes, planes, still(4, 5), every))


def test_a_pair_that_is_hidden_everywhere_is_excluded(run: Run, noise: Noise, monkeypatch: pytest.MonkeyPatch) -> None:
    from stvsr_bench.metrics import warping_error as module

    monkeypatch.setattr(module, "occluded", lambda f, b: torch.ones(f.shape[-2:], dtype=torch.bool))
    result = run(INFO, noise(3, 40, 40, 1), noise(3, 40, 40, 2))
    assert result.value is None
    assert result.reason == "every pixel is occluded or on a motion boundary"
    assert [e.index for e in result.excluded] == [0, 1]


def test_a_still_clip_gives_0_whatever_the_output_is(run: Run, noise: Noise) -> None:
    frame = noise(1, 40, 48).expand(4, -1, -1, -1)
    result = run(INFO, frame, frame)
    assert result.value == pytest.approx(0, abs=1e-5)  # Farneback finds a little motion where there is none
    offset = noise(1, 40, 48, 5).expand(4, -1, -1, -1)
    assert run(INFO, offset, frame).value == pytest.approx(0, abs=1e-5)  # it measures change, not quality


def test_flow_and_mask_come_from_the_store(tmp_path: Path, noise: Noise, monkeypatch: pytest.MonkeyPatch) -> None:
    pred, gt = noise(4, 40, 40, 1), noise(4, 40, 40, 2)
    results = []
    for _ in range(2):
        metric = build_metric(INFO)
        with FeatureStore(tmp_path) as store:
            for begin in (0, 2):
                part = slice(begin, begin + 2)
                metric.update(FrameBatch(pred[part], gt[part], range(begin, begin + 2), store=store))
        results.append(metric.compute())
        monkeypatch.setattr(cv2, "calcOpticalFlowFarneback", None)  # the second time nothing is computed
    assert results[0] == results[1]
    assert (store.misses, store.hits) == (0, 6)
    assert not list(tmp_path.glob("*backward*"))


@pytest.mark.parametrize(("size", "wanted"), [((131, 173), (72, 88)), ((128, 160), (64, 80)), ((2, 2), (8, 8))])
def test_halving(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    frame = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))
    small = halved(frame)
    assert small.shape[-2:] == wanted
    plain = F.interpolate(frame, scale_factor=0.5, mode="bilinear", align_corners=False)
    h, w = plain.shape[-2:]
    top, left = (wanted[0] - h) // 2, (wanted[1] - w) // 2
    assert torch.equal(small[:, :, top : top + h, left : left + w], plain)
    assert torch.equal(small[:, :, 0, left : left + w], plain[:, :, 0])
    # by the factor 0.5 itself: sample 2k + 0.5, whatever the ratio of the sizes
    assert torch.allclose(plain[..., 0, 0], frame[..., :2, :2].mean((-1, -2)))
    assert torch.allclose(plain[..., -1, -1], frame[..., 2 * h - 2 : 2 * h, 2 * w - 2 : 2 * w].mean((-1, -2)))
