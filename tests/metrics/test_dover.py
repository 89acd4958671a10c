"""DOVER and FasterVQA as metrics: what every metric must do, which pixels they see, what their ids share."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable, Iterator

import pytest
import torch
from small_video_networks import SmallDover, SmallFasterVqa, small_weight

from stvsr_bench.core.errors import MetricError, WeightError
from stvsr_bench.metrics import clip_network, fastervqa
from stvsr_bench.metrics.base import FrameBatch, build_metric
from stvsr_bench.metrics.catalog import CATALOG, MetricInfo
from stvsr_bench.metrics.clip_metric import ViewMetric
from stvsr_bench.metrics.clip_network import ClipNetwork
from stvsr_bench.metrics.clip_views import FragmentView
from stvsr_bench.metrics.dover import metric as dover
from stvsr_bench.metrics.functional.fragments import small_copy
from stvsr_bench.metrics.functional.video_quality import fused_logit, sigmoid
from stvsr_bench.metrics.functional.video_sampling import centred_indices
from stvsr_bench.metrics.result import MetricResult
from stvsr_bench.weights import service

Run = Callable[..., MetricResult]
Noise = Callable[..., torch.Tensor]
IDS = [name for name in CATALOG if name.startswith(("dover_", "fastervqa_"))]
every_id = pytest.mark.parametrize("info", [CATALOG[name] for name in IDS], ids=IDS)


@pytest.fixture(autouse=True)
def passes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Small networks with seeded parameters; lists the trunks that have run."""
    monkeypatch.setattr(service, "load_weight", small_weight)
    monkeypatch.setattr(dover, "DoverNetwork", SmallDover)
    monkeypatch.setattr(fastervqa, "FasterVqaNetwork", SmallFasterVqa)
    ran: list[str] = []
    forward = ClipNetwork._forward

    def counted(self: ClipNetwork, trunk: str, head: str, view: torch.Tensor) -> float:
        ran.append(trunk)
        return forward(self, trunk, head, view)

    monkeypatch.setattr(ClipNetwork, "_forward", counted)
    yield ran
    gc.collect()
    assert not clip_network._SHARED  # no network outlives its metrics


def test_which_ids_there_are() -> None:
    assert set(IDS) == {
        *("dover_fused", "dover_technical", "dover_aesthetic"),
        *("dover_fused_fixedgrid", "dover_technical_fixedgrid", "dover_fused_noaa", "dover_aesthetic_noaa"),
        *("fastervqa_cli", "fastervqa_dataset", "fastervqa_cli_fixedgrid", "fastervqa_dataset_fixedgrid"),
    }


@every_id
def test_one_value_for_the_clip_however_it_is_cut(info: MetricInfo, run: Run, noise: Noise) -> None:
    frames = noise(11, 61, 75)
    keeper = build_metric(info)  # keeps the network, and so the score of a view that has been seen
    keeper.setup("cpu")
    whole = run(info, frames, None, batch=11, index=range(3, 14))
    assert (whole.level, whole.index, whole.n, whole.reason) == ("clip", (3,), 1, None)
    assert whole.value == whole.values[0]
    assert 0 < whole.value < 1
    assert run(info, frames, None, batch=1, index=range(3, 14)) == whole
    assert run(info, frames, frames, batch=4, index=range(3, 14)) == whole
    last = frames.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert run(info, last, None, index=range(3, 14)) == whole


@pytest.mark.parametrize("name", ["dover_fused", "fastervqa_cli"])
def test_threads_change_nothing_that_counts(name: str, run: Run, noise: Noise) -> None:
    """A convolution adds in another order; the fusion makes up to ten times as much of it."""
    frames, threads, values = noise(2, 96, 128), torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            values.append(run(CATALOG[name], frames, None).value)
    finally:
        torch.set_num_threads(threads)
    assert values[1] == pytest.approx(values[0], abs=1e-4)


@every_id
def test_one_frame(info: MetricInfo, run: Run, noise: Noise) -> None:
    assert run(info, noise(1, 40, 50), None).n == 1


@every_id
def test_the_smallest_size_is_scored_and_smaller_is_refused(info: MetricInfo, run: Run, noise: Noise) -> None:
    height, width = info.min_height, info.min_width
    assert run(info, noise(2, height, width), None).n == 1
    for h, w in ((height - 1, width), (height, width - 1)):
        if h and w:
            with pytest.raises(MetricError, match=rf"metric '{info.id}'.*too small; got {w}×{h}; accepted: .*"):
                run(info, noise(2, h, w), None)


@every_id
def test_black_frames_have_a_finite_score(info: MetricInfo, run: Run) -> None:
    value = run(info, torch.zeros(3, 3, 40, 50, dtype=torch.uint8), None).value
    assert value is not None
    assert math.isfinite(value)


@every_id
def test_a_start_forgets_the_clip_and_other_clips_change_nothing(info: MetricInfo, run: Run, noise: Noise) -> None:
    frames = noise(3, 60, 70)
    metric = build_metric(info)
    metric.setup("cpu")
    metric.start("other", 5)
    metric.update(FrameBatch(noise(4, 50, 50, 2), None, range(4)))
    metric.start("clip", 3)
    metric.update(FrameBatch(frames, None, range(3)))
    result = metric.compute()
    assert metric.compute() == result
    del metric  # and the scores that its network remembers
    assert run(info, frames, None) == result


@every_id
def test_the_number_of_frames_must_be_told_and_right(info: MetricInfo, noise: Noise) -> None:
    metric = build_metric(info)
    metric.setup("cpu")
    frames = FrameBatch(noise(2, 40, 50), None, range(2))
    with pytest.raises(MetricError, match=r"must know how many frames clip 'clip' has; call start"):
        metric.update(frames)
    for count in (1, 3):
        metric.start("walk", count)
        metric.update(frames)
        with pytest.raises(MetricError, match=rf"clip 'walk' has another number.*got 2 frames; accepted: {count}"):
            metric.compute()


@every_id
def test_it_must_be_set_up(info: MetricInfo, noise: Noise) -> None:
    metric = build_metric(info)
    metric.start("clip", 1)
    metric.update(FrameBatch(noise(1, 40, 50), None, [0]))
    with pytest.raises(MetricError, match="is not set up; call setup"):
        metric.compute()


@pytest.mark.parametrize("name", ["dover_technical", "fastervqa_cli", "fastervqa_dataset"])
def test_the_order_of_frames_counts(name: str, run: Run, noise: Noise) -> None:
    frames = noise(40, 64, 64)
    assert run(CATALOG[name], frames, None).value != run(CATALOG[name], frames.flip(0), None).value


# ---------------------------------------------------------------------------------------------- which pixels are seen


def full_views(name: str, frames: torch.Tensor, clip: str = "clip", batch: int = 7) -> ViewMetric:
    metric = build_metric(CATALOG[name])
    assert isinstance(metric, ViewMetric)
    metric.start(clip, len(frames))
    for start in range(0, len(frames), batch):
        part = frames[start : start + batch]
        metric.update(FrameBatch(part, None, range(start, start + len(part))))
    return metric


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("count", [31, 100])
def test_each_place_of_a_view_shows_its_frame(name: str, count: int) -> None:
    numbered = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 230, 260)
    for view in full_views(name, numbered).views.values():
        assert view.pixels.amin((0, 2, 3)).tolist() == view.pixels.amax((0, 2, 3)).tolist() == list(view.indices)


def test_fastervqa_looks_at_the_middle_or_at_eight_stretches(noise: Noise) -> None:
    frames = noise(100, 32, 32)
    assert full_views("fastervqa_cli", frames).views["fragments"].indices == centred_indices(100, 32)
    starts = full_views("fastervqa_dataset", frames).views["fragments"].indices[::4]
    assert all(12 * i <= start < 12 * i + 4 for i, start in enumerate(starts))


@pytest.mark.parametrize(
    ("name", "key", "aligned"), [("dover_fused", "technical", 32), ("fastervqa_cli", "fragments", 8)]
)
def test_fragments_keep_their_place_for_a_stretch_of_the_view(name: str, key: str, aligned: int, noise: Noise) -> None:
    still = noise(1, 480, 720).expand(64, -1, -1, -1)
    pixels = full_views(name, still).views[key].pixels
    blocks = torch.split(pixels, aligned, dim=1)
    assert all(torch.equal(block, block[:, :1].expand_as(block)) for block in blocks)
    assert not any(torch.equal(blocks[0][:, 0], block[:, 0]) for block in blocks[1:])


@pytest.mark.parametrize("name", ["dover_fused", "fastervqa_cli", "fastervqa_dataset"])
def test_draws_depend_on_the_clip_alone(name: str, noise: Noise) -> None:
    frames = noise(300, 64, 480)
    one, same, other = (full_views(name, frames, clip) for clip in ("walk", "walk", "city"))
    key = "technical" if name.startswith("dover") else "fragments"
    views = [metric.views[key] for metric in (one, same, other)]
    assert all(isinstance(view, FragmentView) for view in views)
    assert torch.equal(views[0].pixels, views[1].pixels)
    assert not torch.equal(views[0].offsets, views[2].offsets)  # type: ignore[attr-defined]
    assert (views[0].indices == views[2].indices) is (name == "fastervqa_cli")


def test_the_aesthetic_view_is_whole_frames(noise: Noise) -> None:
    frames = noise(40, 100, 90)
    for name, antialias in (("dover_aesthetic", True), ("dover_aesthetic_noaa", False)):
        view = full_views(name, frames).views["aesthetic"]
        for place in (0, 13, 31):
            assert torch.equal(view.pixels[:, place], small_copy(frames[view.indices[place]], antialias=antialias))


@pytest.mark.parametrize("name", ["dover_technical", "dover_fused", "fastervqa_cli", "fastervqa_dataset"])
def test_the_fixed_grid_differs_where_frames_are_enlarged_and_only_there(name: str, run: Run, noise: Noise) -> None:
    small, large = noise(4, 100, 150), noise(4, 224, 300)
    reference, fixed = CATALOG[name], CATALOG[f"{name}_fixedgrid"]
    assert run(reference, small, None).value != run(fixed, small, None).value
    assert run(reference, large, None).value == run(fixed, large, None).value


def test_the_reference_grid_never_leaves_the_top_left_part() -> None:
    """100×150 becomes 224×336; a grid laid on 100×150 ends before column 150, and one on 224×336 does not."""
    frame = torch.zeros(1, 3, 100, 150, dtype=torch.uint8)
    frame[..., 75:] = 255  # column 168 of the enlarged frame
    seen = {
        name: int(full_views(name, frame).views["technical"].pixels.max())
        for name in ("dover_technical", "dover_technical_fixedgrid")
    }
    assert seen == {"dover_technical": 0, "dover_technical_fixedgrid": 255}


# ---------------------------------------------------------------------------------------------- what the ids share


def score_together(names: list[str], frames: torch.Tensor) -> dict[str, MetricResult]:
    metrics = [build_metric(CATALOG[name]) for name in names]
    for metric in metrics:
        metric.setup("cpu")
        metric.start("clip", len(frames))
    for start in range(0, len(frames), 4):
        part = frames[start : start + 4]
        batch = FrameBatch(part, None, range(start, start + len(part)))
        for metric in metrics:
            metric.update(batch)
    return {metric.info.id: metric.compute() for metric in metrics}


def test_shared_is_alone_and_each_branch_runs_once(run: Run, noise: Noise, passes: list[str]) -> None:
    frames = noise(9, 240, 250)
    together = score_together(IDS, frames)
    # large frames: both grids see the same; two ways of making the aesthetic view, two samplings of FasterVQA
    trunks = ["aesthetic_backbone"] * 2 + ["fragments_backbone"] * 2 + ["technical_backbone"]
    assert sorted(passes) == trunks
    assert score_together(IDS[::-1], frames) == together
    some = ("dover_fused", "dover_technical", "dover_aesthetic_noaa", "dover_fused_fixedgrid", "fastervqa_dataset")
    assert {name: run(CATALOG[name], frames, None) for name in some} == {name: together[name] for name in some}


def test_both_grids_of_one_clip(run: Run, noise: Noise) -> None:
    frames = noise(2, 100, 150)
    names = ["dover_technical", "dover_technical_fixedgrid", "dover_aesthetic", "dover_aesthetic_noaa"]
    assert score_together(names, frames) == {name: run(CATALOG[name], frames, None) for name in names}


def test_a_batch_may_stand_elsewhere_in_another_clip(noise: Noise) -> None:
    """FasterVQA looks at frames 16 … 47 of 64: the second half of a batch that comes first, the first of one after."""
    parts = [FrameBatch(noise(32, 64, 64, seed), None, range(32 * seed, 32 * seed + 32)) for seed in range(3)]
    views = []
    for chosen in (parts[:2], parts[1:]):
        metric = build_metric(CATALOG["fastervqa_cli"])
        assert isinstance(metric, ViewMetric)
        metric.start("clip", 64)
        for part in chosen:
            metric.update(part)
        views.append(metric.views["fragments"].pixels)
    for view, chosen in zip(views, (parts[:2], parts[1:]), strict=True):
        fresh = full_views("fastervqa_cli", torch.cat([part.u8("pred") for part in chosen]))
        assert torch.equal(view, fresh.views["fragments"].pixels)


def test_only_what_a_score_needs_runs(run: Run, noise: Noise, passes: list[str]) -> None:
    run(CATALOG["dover_aesthetic"], noise(2, 64, 64), None)
    assert passes == ["aesthetic_backbone"]


def test_the_fused_score_is_made_of_the_two(noise: Noise) -> None:
    names = ["dover_fused", "dover_technical", "dover_aesthetic"]
    fused, technical, aesthetic = (r.value for r in score_together(names, noise(40, 64, 64)).values())
    assert technical is not None
    assert aesthetic is not None
    logits = [math.log(value / (1 - value)) for value in (technical, aesthetic)]
    assert fused == pytest.approx(sigmoid(0.6104 * logits[0] + 0.3896 * logits[1]), abs=1e-9)
    raw = logits[0] * 0.07355 + 0.1107, logits[1] * 0.03774 - 0.08285
    assert fused == pytest.approx(sigmoid(fused_logit(*raw)), abs=1e-9)


def test_a_batch_is_not_kept(noise: Noise) -> None:
    metric = build_metric(CATALOG["dover_fused"])
    assert isinstance(metric, ViewMetric)
    metric.start("clip", 1000)
    batch = FrameBatch(noise(4, 240, 250), None, range(4))
    metric.update(batch)
    gone = weakref.ref(batch)
    del batch
    gc.collect()
    assert gone() is None
    kept = {name: view.pixels.numel() for name, view in metric.views.items()}
    assert kept == {"technical": 3 * 96 * 224 * 224, "aesthetic": 3 * 32 * 224 * 224}


def test_remembered_scores_are_few_and_told_apart_by_pixels(noise: Noise, passes: list[str]) -> None:
    network = ClipNetwork(SmallFasterVqa(), "fastervqa/fastervqa", torch.device("cpu"))
    view = noise(32, 224, 224).transpose(0, 1)
    changed = view.clone()
    changed[0, 3, 5, 5] ^= 1
    first = network.raw("fragments_backbone", "vqa_head", view)
    assert network.raw("fragments_backbone", "vqa_head", view.clone()) == first
    assert len(passes) == 1
    assert network.raw("fragments_backbone", "vqa_head", changed) != first
    assert len(passes) == 2


def test_parameters_of_another_network_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "load_weight", lambda weight: small_weight("dover/dover"))
    with pytest.raises(WeightError, match=r"do not fit SmallFasterVqa.*missing: fragments_backbone.*unexpected"):
        build_metric(CATALOG["fastervqa_cli"]).setup("cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_id
def test_a_gpu_agrees_with_the_cpu(info: MetricInfo, run: Run, noise: Noise) -> None:
    frames = noise(5, 100, 130)
    on_cpu, on_gpu = run(info, frames, None), run(info, frames, None, device="cuda")
    assert on_gpu.value == pytest.approx(on_cpu.value, abs=1e-4)
    assert run(info, frames, None, batch=1, device="cuda") == on_gpu
