"""Windows end to end: each is restored on its own, and nothing is scored across a border."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from run_helpers import folder_of, write_clip

from stvsr_bench.data.protocol import load_protocol
from stvsr_bench.data.sample import Sample
from stvsr_bench.evaluation import strips
from stvsr_bench.evaluation.scoring import Metrics, Scorer, stale
from stvsr_bench.evaluation.windowed import restore_sample
from stvsr_bench.methods.base import Method, Report, Request
from stvsr_bench.metrics.groups import group_ids
from stvsr_bench.metrics.registry import metric_info
from stvsr_bench.video.clip import ArrayClip, Clip, Frames
from stvsr_bench.video.hashed import HashedClip

PROTOCOL = "osdenhancer-gopro-x4t8"
FLICKER = "vbench_temporal_flickering"


def noise(frames: int, seed: int = 0) -> ArrayClip:
    values = np.random.default_rng(seed).integers(0, 256, (frames, 3, 16, 16), np.uint8)
    return ArrayClip(torch.from_numpy(values), "c")


def windowed(gt: Clip | None = None, windows: int = 2) -> Sample:
    """Windows of 5 frames at φt = 4, a new one every 4."""
    parts = tuple(range(i, i + 2) for i in range(windows))
    keys = tuple(5 * i + end for i in range(windows) for end in (0, 4))
    return Sample("c", noise(windows + 1), gt, 1, 4, 5 * windows, None, range(5 * windows), keys, parts)


class Recorder(Method):
    """Repeats its first LQ frame and notes what it was asked for."""

    task = "stvsr"
    chunking = "own"

    def __init__(self) -> None:
        super().__init__(name="recorder")
        self.asked: list[tuple[Clip, Request]] = []

    def restore_stream(self, clip: Clip, request: Request, report: Report) -> Iterator[Frames]:
        self.asked.append((clip, request))
        stage = report.stage("recorder")
        stage.seconds += 1.5
        stage.peak_bytes = 100 * len(self.asked)
        report.notes.append("slow")
        report.plan.update(calls=len(self.asked) // 9)
        for _ in range((len(clip) - 1) * request.time_scale + 1):
            stage.frames += 1
            yield clip[0:1]


def test_every_window_is_a_clip_and_has_a_seed_of_its_own() -> None:
    method, sample, report = Recorder(), windowed(windows=3), Report()
    method.setup()
    out = torch.cat(list(restore_sample(method, sample, sample.lq, Request(1, 4, 7, "c"), report)))
    assert torch.equal(out, sample.lq[:3].repeat_interleave(5, 0))
    for number, (clip, request) in enumerate(method.asked):
        assert torch.equal(clip[:], sample.lq[number : number + 2])
        assert (request.name, request.first_frame, request.sample_frames) == ("c", 5 * number, 15)
    assert len({request.seed for _, request in method.asked}) == 3
    (stage,) = report.stages
    assert (stage.name, stage.seconds, stage.frames, stage.peak_bytes) == ("restore/recorder", 4.5, 15, 300)
    assert report.notes == ["slow"]
    assert report.plan == {"calls": 0, "sequences": 3}


def test_a_window_does_not_depend_on_how_many_there_are() -> None:
    asked = []
    for windows in (2, 3):
        method, sample = Recorder(), windowed(windows=windows)
        method.setup()
        list(restore_sample(method, sample, sample.lq, Request(1, 4, 7, "c"), Report()))
        asked.append([request.seed for _, request in method.asked])
    assert asked[0] == asked[1][:2]


def test_without_windows_the_method_gets_the_whole_clip() -> None:
    method, lq = Recorder(), noise(3)
    method.setup()
    sample = Sample("c", lq, None, 1, 4, 9, None, range(9), range(0, 9, 4))
    request, report = Request(1, 4, 7, "c"), Report()
    assert len(torch.cat(list(restore_sample(method, sample, lq, request, report)))) == 9
    assert method.asked == [(lq, request)]
    assert "sequences" not in report.plan


def scores(sample: Sample, output: Clip, gt: Clip | None, block: int, *ids: str) -> dict[str, Any]:
    scorer = Scorer([metric_info(i) for i in ids], sample, None if gt is None else HashedClip(gt), Metrics("cpu"))
    for start in range(0, len(output), block):
        scorer.push(output[start : start + block], start)
    return scorer.results("out", "gt")


@pytest.mark.parametrize("block", [1, 3, 5, 10])
def test_no_pair_crosses_a_border(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stvsr_bench.metrics.batch.BATCH_PIXELS", 16 * 16 * 3)
    output, gt = noise(10), noise(10, 1)
    got = scores(windowed(gt), output, gt, block, FLICKER, "psnr_rgb")
    whole = scores(
        Sample("c", noise(10), gt, 1, 1, 10, None, range(10), range(10)), output, gt, 10, FLICKER, "psnr_rgb"
    )
    values = dict(zip(whole[FLICKER]["index"], whole[FLICKER]["values"], strict=True))
    assert sorted(values) == list(range(9))
    del values[4]  # from the last frame of the first window to the first of the second
    assert dict(zip(got[FLICKER]["index"], got[FLICKER]["values"], strict=True)) == values
    assert got[FLICKER]["value"] == pytest.approx(math.fsum(values.values()) / 8, abs=1e-15)
    inner = [values[i] for i in (1, 2, 6, 7)]
    assert got[FLICKER]["subsets"]["interpolated"]["value"] == pytest.approx(sum(inner) / 4, abs=1e-12)
    assert got[FLICKER]["subsets"]["key"]["n"] == 0
    assert got["psnr_rgb"]["values"] == whole["psnr_rgb"]["values"]
    keys = [whole["psnr_rgb"]["values"][i] for i in (0, 4, 5, 9)]
    assert got["psnr_rgb"]["subsets"]["key"]["value"] == pytest.approx(sum(keys) / 4, abs=1e-12)
    assert got["psnr_rgb"]["subsets"]["interpolated"]["n"] == 6


def test_windows_are_part_of_the_score_key() -> None:
    sample, output, info = windowed(), noise(10), metric_info(FLICKER)
    kept = scores(sample, output, None, 10, FLICKER)
    assert stale(kept, [info], sample, "out", None) == []
    whole = Sample("c", sample.lq, None, 1, 4, 10, None, sample.scored, sample.key_frames)
    assert stale(kept, [info], whole, "out", None) == [info]


@pytest.fixture
def gopro(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two clips, of three whole windows and a tail of two frames, and of one window."""
    monkeypatch.setenv("STVSR_BENCH_DATA", str(tmp_path / "data"))
    root = tmp_path / "clips"
    write_clip(root / "GT" / "long", 0, frames=27, height=64, width=96)
    write_clip(root / "GT" / "one", 1, frames=9, height=64, width=96)
    return root


def records(folder: Path) -> dict[str, dict[str, Any]]:
    return {p.stem: json.loads(p.read_text()) for p in folder.glob("**/samples/*.json")}


def test_a_run_under_windows(call: Callable[..., Any], gopro: Path, tmp_path: Path) -> None:
    command = ("method=bicubic_blend", *folder_of(gopro), f"protocol={PROTOCOL}")
    plan = call("run", "--dry-run", *command)
    assert plan.status == 0, plan.err
    assert "long: GT frames 25-26 have no whole window and are not scored" in plan.out
    assert "3 windows of 9 frames, a new one every 8, each restored on its own" in plan.out
    done = call("run", *command, "results_dir=first")
    assert done.status == 0, done.err
    found = records(tmp_path / "first")
    assert found["long"]["windows"] == [[0, 9], [9, 18], [18, 27]]
    assert found["long"]["key_frames"] == [0, 8, 9, 17, 18, 26]
    assert found["long"]["restore"]["lq"]["frames"] == 4
    assert found["one"]["windows"] == [[0, 9]]
    score = found["long"]["scores"][FLICKER]
    assert (score["n"], score["subsets"]["interpolated"]["n"]) == (24, 18)
    assert found["long"]["scores"]["psnr_rgb"]["n"] == 27
    (outputs,) = (tmp_path / "first").glob("**/outputs")
    frames = [cv2.imread(str(p)) for p in sorted((outputs / "long").glob("*.png"))]
    assert len(frames) == 27
    # Bicubic and blend have no memory, so the frame on a border is the same on both sides of it.
    assert np.array_equal(frames[8], frames[9])
    assert call("run", *command, "results_dir=first").out.count("already done") == 2

    # The frames that were kept, handed in as outputs made elsewhere, score the same.
    again = call(
        "run", "method=outputs", f"method.dir={outputs}", "method.label=kept", *command[1:], "results_dir=second"
    )
    assert again.status == 0, again.err
    for name, record in records(tmp_path / "second").items():
        assert record["restore"]["output_hash"] == found[name]["restore"]["output_hash"]
        values = {metric: score["value"] for metric, score in record["scores"].items()}
        assert values == {metric: score["value"] for metric, score in found[name]["scores"].items()}
    next(iter((outputs / "long").glob("*.png"))).unlink()
    fault = call(
        "run", "method=outputs", f"method.dir={outputs}", "method.label=cut", *command[1:], "results_dir=third"
    )
    assert fault.status == 1
    assert "27 frames of 64x96: windows of 9 frames in a row" in fault.out + fault.err


def test_a_clip_without_a_whole_window_fails_alone(call: Callable[..., Any], gopro: Path) -> None:
    (gopro / "GT" / "one" / "0008.png").unlink()
    done = call("run", "method=bicubic_blend", *folder_of(gopro), f"protocol={PROTOCOL}", "metrics.ids=[psnr_rgb]")
    assert done.status == 1
    assert "8 frames hold no window of 9; accepted: at least 9 frames" in done.out + done.err
    assert "long: restored" in done.out


def test_strips_find_the_lq_frame_of_a_window(
    call: Callable[..., Any], gopro: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("run", "method=bicubic_blend", *folder_of(gopro), f"protocol={PROTOCOL}", "metrics=fast")
    rows = []
    real = strips.comparison_strip
    monkeypatch.setattr(strips, "comparison_strip", lambda *a, **k: (rows.extend(a[0]), real(*a, **k))[1])
    assert len(strips.write_strips([tmp_path / "results"], tmp_path / "strips")) == 2
    # Of the long clip: key frame 17 closes the second window, interpolated frame 13 lies within it.
    found = [(row.title, row.lq_caption) for row in rows]
    assert ("key frame 17", "LQ frame 2") in found
    assert ("interpolated frame 13", "LQ frame 1 (the one before)") in found


def test_the_protocol_names_the_metrics_unless_the_user_does(
    call: Callable[..., Any], gopro: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = ("run", "method=bicubic", *folder_of(gopro), "protocol=bi-x4")
    monkeypatch.setattr(
        "stvsr_bench.evaluation.plan.load_protocol",
        lambda name: load_protocol(name).model_copy(update={"metrics": "fast"}),
    )
    for folder, wish in (("auto", ()), ("named", ("metrics=psnr_ssim",)), ("own", ("metrics.ids=[psnr_rgb]",))):
        assert call(*base, *wish, f"results_dir={folder}").status == 0
    runs = {f: json.loads(next(tmp_path.glob(f"{f}/**/run.json")).read_text()) for f in ("auto", "named", "own")}
    assert {folder: run["metrics"] for folder, run in runs.items()} == {
        "auto": group_ids("fast"),
        "named": group_ids("psnr_ssim"),
        "own": ["psnr_rgb"],
    }
    # A run repeats from what it recorded: the group is resolved there.
    assert runs["auto"]["config"]["metrics"] == {"ids": group_ids("fast")}
