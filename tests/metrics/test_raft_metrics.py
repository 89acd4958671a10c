"""Metrics with RAFT: E* as circulated and corrected, FloLPIPS with RAFT; with seeded parameters and few frames."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from stvsr_bench.core.errors import MetricError
from stvsr_bench.metrics import pair_flow
from stvsr_bench.metrics import warping_error as module
from stvsr_bench.metrics.base import FrameBatch, build_metric
from stvsr_bench.metrics.catalog import CATALOG, MetricInfo
from stvsr_bench.metrics.functional.warping import halved, occluded
from stvsr_bench.metrics.functional.warping import warping_error as error_of
from stvsr_bench.metrics.result import MetricResult
from stvsr_bench.nn.raft import pad_to_eight

Run = Callable[..., MetricResult]
Noise = Callable[..., torch.Tensor]
INFOS = [CATALOG[i] for i in ("ewarp_evalcrafter", "ewarp_fixed", "flolpips_raft")]
EWARP = INFOS[:2]


@pytest.fixture
def few_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two updates of the flow, which show the same as twenty."""
    monkeypatch.setattr(module.EWarp, "_UPDATES", 2)
    monkeypatch.setattr(pair_flow.RaftFlow, "_UPDATES", 2)


@pytest.mark.parametrize("info", INFOS, ids=lambda i: i.id)
@pytest.mark.usefixtures("few_updates")
def test_batches_and_pairs(info: MetricInfo, run: Run, noise: Noise) -> None:
    size = info.min_height, info.min_width
    pred, gt = noise(3, *size, 1), noise(3, *size, 2)
    results = [run(info, pred, gt, batch=batch, index=range(4, 7)) for batch in (3, 2, 1)]
    assert results[0] == results[1] == results[2]
    assert results[0].index == (4, 5)
    assert results[0].value is not None
    assert results[0].value > 0


@pytest.mark.parametrize("info", INFOS, ids=lambda i: i.id)
def test_smaller_frames_are_refused(info: MetricInfo, run: Run, noise: Noise) -> None:
    for h, w in ((info.min_height - 1, info.min_width), (info.min_height, info.min_width - 1)):
        with pytest.raises(MetricError, match=f"too small; got {w}×{h}"):
            run(info, noise(2, h, w), noise(2, h, w, 1))


@pytest.mark.parametrize("info", INFOS, ids=lambda i: i.id)
@pytest.mark.usefixtures("few_updates")
def test_one_frame_and_no_ground_truth(info: MetricInfo, run: Run, noise: Noise) -> None:
    frames = noise(2, info.min_height, info.min_width)
    single = run(info, frames[:1], frames[:1])
    assert (single.value, single.values, single.reason) == (None, (), "needs at least 2 frames, got 1")
    alone = run(info, frames, None)
    assert alone.reason == (None if info.reference == "none" else "no ground truth")
    with pytest.raises(MetricError, match="is not set up"):
        build_metric(info).update(FrameBatch(frames, frames, range(2)))


@pytest.mark.usefixtures("few_updates")
def test_identical_clips_have_no_flolpips(run: Run, noise: Noise) -> None:
    frames = noise(2, 121, 130)
    assert run(INFOS[2], frames, frames).values == (0,)


@pytest.mark.parametrize("info", EWARP, ids=lambda i: i.id)
@pytest.mark.usefixtures("few_updates")
def test_ewarp_needs_only_the_output(info: MetricInfo, run: Run, noise: Noise) -> None:
    frames = noise(2, 242, 245)
    assert run(info, frames, noise(2, 242, 245, 3)) == run(info, frames, None)


@pytest.mark.parametrize(("info", "largest"), list(zip(EWARP, (1.0, 255.0), strict=True)), ids=["unit", "byte"])
def test_what_raft_is_shown_and_what_is_made_of_its_flow(
    info: MetricInfo, largest: float, run: Run, noise: Noise, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The circulated form gives RAFT frames in [0, 1] where it expects [0, 255]."""
    shown = []
    generator = torch.Generator().manual_seed(1)
    flows = torch.randn(2, 1, 2, 128, 128, generator=generator) * 0.1

    def flow(network: object, first: torch.Tensor, second: torch.Tensor, updates: int) -> torch.Tensor:
        shown.append((first, second, updates))
        return flows[len(shown) - 1]

    monkeypatch.setattr(module, "raft_flow", flow)
    frames = noise(2, 242, 250)
    value = run(info, frames, None).value
    a, b = (halved(frame[None].float() / 255) for frame in frames)
    for (first, second, updates), (x, y) in zip(shown, ((a, b), (b, a)), strict=True):
        assert updates == 20
        assert torch.allclose(first, 2 * (x * largest / 255) - 1)
        assert torch.allclose(second, 2 * (y * largest / 255) - 1)
    assert value == 1000 * error_of(a, b, flows[0], occluded(flows[0], flows[1]))
    assert 0 < (value or math.nan) < 3000


@pytest.mark.parametrize("size", [(65, 88), (64, 64), (1, 1)])
def test_padding_keeps_the_frame_in_the_middle(size: tuple[int, int]) -> None:
    frame = torch.rand(1, 3, *size)
    padded, inside = pad_to_eight(frame)
    assert all(side % 8 == 0 for side in padded.shape[-2:])
    assert torch.equal(padded[:, :, *inside], frame)
    assert torch.equal(padded[0, :, 0, 0], frame[0, :, 0, 0])
    assert torch.equal(padded[0, :, -1, -1], frame[0, :, -1, -1])
