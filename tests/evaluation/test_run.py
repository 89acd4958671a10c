"""Runs end to end on tiny clips: what is kept, what is done again, what a failure costs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from run_helpers import CLIPS, folder_of, write_clip

Call = Callable[..., Any]
METRICS = "metrics.ids=[psnr_rgb,ssim_rgb,vbench_temporal_flickering]"


def run_folder(root: Path) -> Path:
    """Return the only run folder below ``root``."""
    (found,) = root.glob("results/runs/*/*/*/*/run.json")
    return found.parent


def records(root: Path) -> dict[str, dict[str, Any]]:
    return {p.stem: json.loads(p.read_text()) for p in (run_folder(root) / "samples").glob("*.json")}


def test_a_run_keeps_everything(call: Call, clips: Path, tmp_path: Path) -> None:
    answer = call("run", "method=bicubic_blend", *folder_of(clips), "protocol=bi-x4t2", METRICS)
    assert answer.status == 0, answer.err
    assert "psnr_rgb" in answer.out
    run = json.loads((run_folder(tmp_path) / "run.json").read_text())
    assert next(iter(run)) == "schema_version"
    assert run["method"]["id"] == "bicubic+blend"
    assert run["dataset"]["samples"] == list(CLIPS)
    assert run["config"]["protocol"]["id"] == "bi-x4t2"
    assert run["packages"]["torch"]
    for name, record in records(tmp_path).items():
        assert record["status"] == "ok"
        assert record["restore"]["frames"] == 9
        assert record["key_frames"] == [0, 2, 4, 6, 8]
        score = record["scores"]["psnr_rgb"]
        assert score["n"] == 9
        assert (score["subsets"]["key"]["n"], score["subsets"]["interpolated"]["n"]) == (5, 4)
        assert score["value"] == pytest.approx(np.mean(score["values"]))
        assert len(list((run_folder(tmp_path) / "outputs" / name).glob("*.png"))) == 9
        assert {s["name"] for s in record["restore"]["stages"]} == {"vsr/bicubic", "vfi/blend"}
    assert not list(tmp_path.rglob(".tmp-*"))


def test_the_same_command_does_nothing_again(call: Call, clips: Path, tmp_path: Path) -> None:
    command = ("run", "method=bicubic", *folder_of(clips), "protocol=bi-x4", METRICS)
    call(*command)
    before = {p: p.stat().st_mtime_ns for p in run_folder(tmp_path).rglob("*") if p.is_file() and p.suffix != ".lock"}
    answer = call(*command)
    assert answer.out.count("already done") == 3
    after = {p: p.stat().st_mtime_ns for p in before}
    changed = [p.name for p in before if before[p] != after[p]]
    assert changed == ["run.json"]


def test_a_new_metric_only_scores_again(call: Call, clips: Path, tmp_path: Path) -> None:
    base = ("run", "method=bicubic", *folder_of(clips), "protocol=bi-x4")
    call(*base, "metrics.ids=[psnr_rgb]")
    restored = {name: record["restore"] for name, record in records(tmp_path).items()}
    answer = call(*base, "metrics.ids=[psnr_rgb,ssim_rgb]")
    assert answer.out.count("scored stored outputs") == 3
    again = records(tmp_path)
    assert {name: record["restore"] for name, record in again.items()} == restored
    alone = call(*base, "metrics.ids=[ssim_rgb]", "results_dir=elsewhere")
    assert alone.status == 0
    (other,) = (tmp_path / "elsewhere").rglob("samples/ant.json")
    assert json.loads(other.read_text())["scores"]["ssim_rgb"] == again["ant"]["scores"]["ssim_rgb"]


def test_changed_pixels_are_restored_again(call: Call, clips: Path, tmp_path: Path) -> None:
    command = ("run", "method=bicubic", *folder_of(clips), "protocol=bi-x4", METRICS)
    call(*command)
    path = clips / "GT" / "bee" / "0003.png"
    frame = cv2.imread(str(path))
    frame[0, 0] ^= 255
    cv2.imwrite(str(path), frame)
    answer = call(*command)
    assert answer.out.count("already done") == 2
    assert "bee: restored" in answer.out


def test_touched_files_with_equal_pixels_are_not(call: Call, clips: Path) -> None:
    command = ("run", "method=bicubic", *folder_of(clips), "protocol=bi-x4", METRICS)
    call(*command)
    for path in (clips / "GT").rglob("*.png"):
        path.write_bytes(path.read_bytes())
    assert call(*command).out.count("already done") == 3


def test_damaged_outputs_are_restored_again(call: Call, clips: Path, tmp_path: Path) -> None:
    base = ("run", "method=bicubic", *folder_of(clips), "protocol=bi-x4")
    call(*base, "metrics.ids=[psnr_rgb]")
    path = run_folder(tmp_path) / "outputs" / "ant" / "00000001.png"
    cv2.imwrite(str(path), np.zeros((32, 48, 3), np.uint8))
    answer = call(*base, "metrics.ids=[psnr_rgb,ssim_rgb]")
    assert "ant: restored" in answer.out
    assert answer.out.count("scored stored outputs") == 2


def test_keep_outputs(call: Call, clips: Path, tmp_path: Path) -> None:
    base = ("run", "method=bicubic", *folder_of(clips), "protocol=bi-x4", METRICS)
    call(*base, "keep_outputs=no")
    assert not (run_folder(tmp_path) / "outputs").exists()
    hashes = {name: record["restore"]["output_hash"] for name, record in records(tmp_path).items()}
    assert "restored" in call(*base, "keep_outputs=ffv1").out
    assert len(list((run_folder(tmp_path) / "outputs").glob("*.mkv"))) == 3
    assert {name: record["restore"]["output_hash"] for name, record in records(tmp_path).items()} == hashes
    assert call(*base, "keep_outputs=no").out.count("already done") == 3
    wrong = call(*base, "keep_outputs=jpg")
    assert wrong.status == 2
    assert "png, ffv1, no" in wrong.err


def test_one_bad_clip_does_not_end_the_run(call: Call, clips: Path, tmp_path: Path) -> None:
    path = clips / "GT" / "bee" / "0004.png"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    command = ("run", "method=bicubic", *folder_of(clips), "protocol=bi-x4", METRICS)
    answer = call(*command)
    assert answer.status == 1
    assert "bee: FAILED" in answer.out
    assert "0004.png" in answer.out
    found = records(tmp_path)
    assert [found[name]["status"] for name in CLIPS] == ["ok", "failed", "ok"]
    assert found["bee"]["reason"]["type"] == "ClipError"
    assert "2/3" in answer.out
    path.write_bytes(whole)
    assert call(*command).status == 0
    assert records(tmp_path)["bee"]["status"] == "ok"


def test_a_finished_result_outlives_a_later_failure(call: Call, clips: Path, tmp_path: Path) -> None:
    command = ("run", "method=bicubic", *folder_of(clips), "protocol=bi-x4", METRICS)
    call(*command)
    before = records(tmp_path)
    (clips / "GT" / "bee" / "0004.png").write_bytes(b"")
    assert call(*command).status == 1
    assert records(tmp_path) == before


def test_limit_is_partial_and_never_ranked(call: Call, clips: Path, tmp_path: Path) -> None:
    answer = call("run", "method=bicubic", *folder_of(clips), "protocol=bi-x4", METRICS, "dataset.limit=2")
    assert answer.status == 0
    assert "never ranked" in answer.out
    run = json.loads((run_folder(tmp_path) / "run.json").read_text())
    assert run["partial"] == "dataset.limit=2"
    assert run["dataset"]["expected"] == 3
    call("leaderboard", "--csv", "table.csv")
    header, *rows = (tmp_path / "table.csv").read_text().splitlines()
    assert rows
    rank, flags = header.split(",").index("rank"), header.split(",").index("flags")
    assert all(row.split(",")[rank] == "" and "partial" in row.split(",")[flags] for row in rows)


def test_trials_on_clips_and_frames_are_runs_of_their_own(call: Call, clips: Path, tmp_path: Path) -> None:
    command = ("run", "method=bicubic", *folder_of(clips), "protocol=bi-x4", METRICS)
    first, second = CLIPS[0], CLIPS[2]
    answer = call(*command, f"dataset.clips={second},{first}", "dataset.frames=0:5:2")
    assert answer.status == 0, answer.err
    assert "never ranked" in answer.out
    run = json.loads((run_folder(tmp_path) / "run.json").read_text())
    assert run["partial"] == f"dataset.clips={first},{second} dataset.frames=0:5:2"
    found = records(tmp_path)
    assert set(found) == {first, second}
    assert {record["restore"]["frames"] for record in found.values()} == {3}
    assert call(*command, f"dataset.clips={first}").status == 0
    assert call(*command).status == 0
    folders = [path.parent for path in (tmp_path / "results").rglob("run.json")]
    assert len(folders) == 3
    assert sum("partial" in folder.name for folder in folders) == 2


def test_without_ground_truth(call: Call, tmp_path: Path) -> None:
    write_clip(tmp_path / "lq" / "one", 0, frames=4, height=16, width=20)
    answer = call(
        "run", "method=bicubic_dis_flow", "dataset=folder", f"dataset.root={tmp_path}/lq", "dataset.name=mine", METRICS
    )
    assert answer.status == 0, answer.err
    assert "given-x4t2up" in answer.out
    record = records(tmp_path)["one"]
    assert record["restore"]["frames"] == 7
    assert (record["scores"]["psnr_rgb"]["value"], record["scores"]["psnr_rgb"]["reason"]) == (None, "no ground truth")
    assert 0 < record["scores"]["vbench_temporal_flickering"]["value"] <= 1


def test_workers_change_nothing(call: Call, clips: Path, tmp_path: Path) -> None:
    command = ("run", "method=bicubic_dis_flow", *folder_of(clips), "protocol=bi-x4t2", METRICS)
    assert call(*command, "results_dir=one").status == 0
    assert call(*command, "results_dir=two", "executor.workers=2").status == 0
    assert call(*command, "results_dir=three", "executor.overlap=false").status == 0
    for name in ("one", "two", "three"):
        call("leaderboard", name, "--csv", f"{name}.csv")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "three.csv").read_bytes()


def test_a_newer_schema_is_refused_and_left_alone(call: Call, clips: Path, tmp_path: Path) -> None:
    command = ("run", "method=bicubic", *folder_of(clips), "protocol=bi-x4", METRICS)
    call(*command)
    path = run_folder(tmp_path) / "run.json"
    newer = json.dumps({**json.loads(path.read_text()), "schema_version": 99})
    path.write_text(newer)
    answer = call(*command)
    assert answer.status == 2
    assert "newer stvsr-bench" in answer.err
    assert "upgrade" in answer.err
    assert path.read_text() == newer


def test_a_sample_of_a_newer_schema_is_left_alone(call: Call, clips: Path, tmp_path: Path) -> None:
    command = ("run", "method=bicubic", *folder_of(clips), "protocol=bi-x4", METRICS)
    call(*command)
    path = run_folder(tmp_path) / "samples" / "bee.json"
    for text, says in (('{"schema_version": 99}', "newer stvsr-bench"), ('{"schema_version": 1, ', "not valid JSON")):
        path.write_text(text)
        answer = call(*command)
        assert answer.status == 1
        assert says in answer.out
        assert answer.out.count("already done") == 2
        assert path.read_text() == text
    path.unlink()
    assert call(*command).status == 0


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["method=bicubic", "protocol=bi-x4t2"], ["bicubic", "bi-x4t2", "bi-x4"]),
        (["method=dis_flow", "protocol=bi-x4"], ["dis_flow", "bi-x4", "gt-t2"]),
        (["method=bicubic", "protocol=given-x4"], ["given-x4", "bi-x4"]),
        (["method=bicubic", "method.scale=2", "protocol=bi-x4"], ["method.scale", "4"]),
        (["method=bicubic", "protocol=bi-x4", "protocol.scale=2"], ["is fixed", "protocol.scale=2"]),
        (["method=bicubic", "protocol=bi-x4", "metrics.ids=[psnr]"], ["unknown metric 'psnr'", "psnr_rgb"]),
        (["method=bicubic", "protocol=bi-x4", "device=cuda:7"], ["device", "cpu"]),
        (["method=bicubic", "protocol=bi-x4", "dataset.limit=0"], ["dataset.limit"]),
        (["method=bicubic", "protocol=bi-x4", "dataset.clips=antt"], ["unknown clip 'antt'", "ant"]),
        (["method=bicubic", "protocol=bi-x4", "dataset.frames=9"], ["dataset.frames", "A:B:STEP"]),
        (["method=bicubic", "protocol=bi-x4", "executor.workers=0"], ["executor.workers"]),
        (["method=bicubic", "protocol=bi-x4", "dtype=int8"], ["dtype", "float32"]),
    ],
)
def test_what_does_not_fit_is_an_error(overrides: list[str], says: list[str], call: Call, clips: Path) -> None:
    answer = call("run", *overrides, *folder_of(clips))
    assert answer.status == 2
    assert "Traceback" not in answer.err
    for text in says:
        assert text in answer.err


def test_everything_missing_is_listed_at_once(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STVSR_BENCH_DATA", str(tmp_path / "nothing"))
    answer = call("run", "method=diffst", "dataset=udm10")
    assert answer.status == 2
    assert "method=diffst dataset=udm10 cannot run yet" in answer.err
    method, dataset = answer.err.split("\n  2. ")
    for text in (
        "1. method 'diffst' is announced",
        "trained parameters; neither official weights nor official code are published",
        *("method.preset=tiny", "method.allow_untrained=true", "method.checkpoint=PATH"),
        *("diffst/wan (6.2 GB, licence Apache-2.0)", "diffst/ram", "diffst/dape", "diffst/prompt", "rife/paper_m"),
        "stvsr-bench fetch diffst/wan",
        "method.label=diffst_official",
    ):
        assert text in method
    assert "udm10" in dataset
    assert str(tmp_path / "nothing") in dataset
    assert "\n  3. " not in dataset


def test_weights_that_only_people_can_get_are_listed_with_the_rest(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault caught: a run downloads gigabytes, or asks for data, before it says that a file must come by hand."""
    monkeypatch.setenv("STVSR_BENCH_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("STVSR_BENCH_WEIGHTS", str(tmp_path / "weights"))
    answer = call("run", "method=rife", "method.variant=paper", "dataset=udm10")
    assert answer.status == 2
    assert "1. dataset 'udm10' is absent" in answer.err
    assert "2. rife/paper (size unknown, licence MIT) cannot be had" in answer.err
    assert "rife_paper_flownet.pkl" in answer.err


def test_a_sweep_goes_on_after_a_job_that_cannot_start(call: Call, clips: Path, tmp_path: Path) -> None:
    answer = call(
        "run", "-m", "method=bicubic,blend,diffst", *folder_of(clips), "protocol=bi-x4", "metrics.ids=[psnr_rgb]"
    )
    assert answer.status == 2
    assert "3 jobs: 1 ok, 2 not ok" in answer.out
    assert [p.name for p in (tmp_path / "results" / "runs").iterdir()] == ["bicubic"]
    assert {p.name for p in tmp_path.iterdir()} == {"clips", "results"}


def test_dry_run_restores_nothing(call: Call, clips: Path, tmp_path: Path) -> None:
    (clips / "GT" / "cat").rename(clips / "gone")
    shutil.rmtree(clips / "gone")
    answer = call("run", "--dry-run", "method=bicubic_blend", *folder_of(clips))
    assert answer.status == 0
    for text in ("bicubic+blend", "bi-x4t2", "protocol=auto", "48×32", "12×8", "to do"):
        assert text in answer.out
    assert not (tmp_path / "results").exists()


def test_spelled_out_and_ready_cascades_are_one_method(call: Call, clips: Path, tmp_path: Path) -> None:
    call("run", "method=bicubic_blend", *folder_of(clips), "protocol=bi-x4t2", METRICS)
    answer = call(
        "run",
        "method=cascade",
        "method.vsr=bicubic",
        "method.vfi=blend",
        *folder_of(clips),
        "protocol=bi-x4t2",
        METRICS,
    )
    assert answer.out.count("already done") == 3
    other = call(
        *("run", "method=cascade", "method.vsr=bicubic", "method.vfi=blend", "method.order=vfi-vsr"),
        *(*folder_of(clips), "protocol=bi-x4t2", METRICS),
    )
    assert other.status == 0
    assert {p.name for p in (tmp_path / "results" / "runs").iterdir()} == {"bicubic+blend", "blend+bicubic"}


def test_strict_json(call: Call, clips: Path, tmp_path: Path) -> None:
    call("run", "method=repeat", *folder_of(clips), "protocol=gt-t2", METRICS)

    def refuse(text: str) -> None:
        raise AssertionError(text)

    for path in run_folder(tmp_path).rglob("*.json"):
        json.loads(path.read_text(), parse_constant=refuse)
    score = records(tmp_path)["ant"]["scores"]["psnr_rgb"]
    assert score["values"][0] is None
    assert score["excluded"][0]["index"] == 0
    assert score["n"] == 4
