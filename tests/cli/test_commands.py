"""Every command once, as a user calls it."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from stvsr_bench.cli.app import COMMANDS, main
from stvsr_bench.video.reading import open_clip
from stvsr_bench.video.writing import open_writer


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process, from an empty folder; returns status, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main(arguments)
        return int(left.value.code or 0), *capfd.readouterr()

    return run


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A lossless video of 12 frames of 34×20 at 24000/1001 frames per second."""
    frames = torch.randint(0, 256, (12, 3, 20, 34), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "my video (1), a=b.mkv"
    with open_writer(path, "ffv1", 20, 34, Fraction(24000, 1001)) as writer:
        writer.write(frames)
    return path


def test_help_names_every_command(call: Callable[..., tuple[int, str, str]]) -> None:
    status, out, _ = call("--help")
    assert status == 0
    for name in COMMANDS:
        assert name in out
        status, text, _ = call(name, "--help")
        assert status == 0
        assert "Usage: stvsr-bench" in text


def test_an_unknown_command(call: Callable[..., tuple[int, str, str]]) -> None:
    status, _, err = call("rnu")
    assert status == 2
    assert "unknown command 'rnu'" in err
    assert "nearest known: run" in err


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("methods", ["bicubic", "dis_flow", "diffst", "announced, code here", "announced "]),
        ("datasets", ["demo", "vid4", "videolq", "udm10"]),
        ("protocols", ["bi-x4t2", "gt-t8", "auto"]),
        ("metrics", ["psnr_y_crop4", "ready", "vmaf_v0.6.1neg", "non-commercial", "diffst"]),
    ],
)
def test_lists(kind: str, names: list[str], call: Callable[..., tuple[int, str, str]]) -> None:
    status, out, _ = call("list", kind)
    assert status == 0
    for name in names:
        assert name in out


@pytest.mark.parametrize("name", ["bicubic", "vid4", "bi-x4t2", "psnr_rgb", "diffst", "psnr_y_bt601_crop4"])
def test_show(name: str, call: Callable[..., tuple[int, str, str]]) -> None:
    status, out, _ = call("show", name)
    assert status == 0
    assert name.replace("_bt601", "") in out
    assert "version: 1" in out


def test_show_an_unknown_name(call: Callable[..., tuple[int, str, str]]) -> None:
    status, _, err = call("show", "bicubik")
    assert status == 2
    assert "bicubic" in err


def test_restore_writes_video_and_frames(
    video: Path, call: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    options = ("--frames", "2:6", "method=bicubic_dis_flow", "method.scale=2", "method.time_scale=3")
    status, out, err = call("restore", str(video), "out.mkv", *options)
    assert status == 0, err
    assert "10 frames of 68×40, 72000/1001 frames per second" in out
    status, _, err = call("restore", str(video), "frames", *options, "--crop", "16x8+10+4")
    assert status == 0, err
    cropped = open_clip(tmp_path / "frames")
    assert (len(cropped), cropped.height, cropped.width) == (10, 16, 32)
    status, _, err = call("restore", str(video), "look.mp4", *options)
    assert status == 0, err
    assert len(open_clip(tmp_path / "look.mp4")) == 10


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["out.mkv", "method=bicubic"], "method.scale"),
        (["out.mkv", "method=dis_flow"], "method.time_scale"),
        (["out.mkv", "method=dis_flow", "method.time_scale=2", "method.scale=4"], "method"),
        (["out.avi", "method=bicubic", "method.scale=2"], ".mkv"),
        (["out.mkv", "method=bicubic", "method.scale=2", "--frames", "20:30"], "0:12"),
        (["out.mkv", "method=bicubic", "method.scale=2", "--frames", "x"], "A:B"),
        (["out.mkv", "method=bicubic", "method.scale=2", "--crop", "40x8+0+0"], "34x20"),
        (["out.mkv", "method=bicubic", "method.scale=2", "--crop", "4"], "WxH+X+Y"),
        (["out.mkv", "method=bicubic", "method.scale=2", "dataset=demo"], "stvsr-bench run"),
        (["out.mkv", "method=diffst"], "announced"),
    ],
)
def test_restore_says_what_is_wrong(
    arguments: list[str], says: str, video: Path, call: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    status, _, err = call("restore", str(video), *arguments)
    assert status == 2
    assert says in err
    assert "Traceback" not in err
    assert [p.name for p in tmp_path.iterdir()] == [video.name]


def test_restore_of_nothing(call: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    status, _, err = call("restore", "absent.mp4", "out.mkv", "method=bicubic", "method.scale=2")
    assert status == 2
    assert "absent.mp4" in err


def test_score(video: Path, call: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    clip = open_clip(video)
    with open_writer(tmp_path / "pred", "png", 20, 34, None) as writer:
        writer.write((clip[:].int() - 3).clamp(0, 255).to(torch.uint8))
    status, out, err = call(
        "score", "pred", "--gt", str(video), "--csv", "scores.csv", "--metrics", "psnr_rgb,ssim_rgb"
    )
    assert status == 0, err
    rows = list(csv.DictReader((tmp_path / "scores.csv").read_text().splitlines()))
    assert len(rows) == 24
    expected = [
        10 * np.log10(255**2 / np.mean((a.numpy().astype(float) - b.numpy()) ** 2))
        for a, b in zip(clip[:], open_clip(tmp_path / "pred")[:], strict=True)
    ]
    assert [float(r["value"]) for r in rows if r["metric"] == "psnr_rgb"] == pytest.approx(expected, abs=1e-5)
    assert "psnr_rgb" in out
    status, out, _ = call("score", "pred")
    assert status == 0
    assert "vbench_temporal_flickering" in out
    assert "psnr" not in out


def test_score_refuses_what_does_not_match(
    video: Path, call: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    with open_writer(tmp_path / "short", "png", 20, 34, None) as writer:
        writer.write(open_clip(video)[:11])
    status, _, err = call("score", "short", "--gt", str(video))
    assert status == 2
    assert "11 frames" in err
    assert "12 frames" in err
    status, _, err = call("score", "short", "--metrics", "psnr_rgb")
    assert status == 2
    assert "ground truth" in err


def test_new_validate_and_run_a_method(
    call: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for task, protocol in (("vsr", "bi-x4"), ("vfi", "gt-t2"), ("stvsr", "bi-x4t2")):
        status, out, err = call("new", "method", f"mine_{task}", "--into", "ext", "--task", task)
        assert status == 0, err
        assert "STVSR_BENCH_PATH" in out
        monkeypatch.setenv("STVSR_BENCH_PATH", str(tmp_path / "ext"))
        status, out, _ = call("validate", "method", f"mine_{task}")
        assert status == 0, out
        for i in range(3):
            (tmp_path / "clips" / "GT" / "a").mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "clips" / "GT" / "a" / f"{i}.png"), np.full((32, 32, 3), 40 * i, np.uint8))
        status, out, err = call(
            "run", f"method=mine_{task}", "dataset=folder", "dataset.root=clips", f"protocol={protocol}"
        )
        assert status == 0, err + out
        monkeypatch.delenv("STVSR_BENCH_PATH")
    status, _, err = call("new", "method", "bicubic")
    assert status == 2
    assert "registered already" in err
    status, _, err = call("new", "method", "Bad-Name")
    assert status == 2


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic", "lanczos", "repeat", "blend", "dis_flow"])
def test_the_baselines_validate(name: str, call: Callable[..., tuple[int, str, str]]) -> None:
    status, out, _ = call("validate", "method", name)
    assert status == 0, out


@pytest.mark.parametrize(
    "name", ["bicubic_blend", "bicubic_dis_flow", "diffst", "osdenhancer", "star", "ultravsr", "diffvsr"]
)
def test_the_other_methods_validate(name: str, call: Callable[..., tuple[int, str, str]]) -> None:
    status, out, _ = call("validate", "method", name)
    assert status == 0, out


def test_validate_finds_faults(
    call: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("new", "method", "mine", "--into", "ext")
    monkeypatch.setenv("STVSR_BENCH_PATH", str(tmp_path / "ext"))
    folder = tmp_path / "ext" / "methods" / "mine"
    whole = {path: path.read_text() for path in folder.iterdir() if path.is_file()}
    for file, old, new, says in (
        ("method.py", "return frames\n", "return frames[1:]\n", "restores"),
        ("method.py", "sharpness: float = 0.0", "sharpness: float = 1.0", "config.yaml"),
        ("config.yaml", "sharpness", "sharpnes", "config.yaml"),
        ("card.yaml", "version: 1 #", "version: 2 #", "newest change"),
        ("card.yaml", "summary:", "sumary:", "sumary"),
        ("card.yaml", "scales: [4]", "scales: [2]", "task and factors"),
        ("card.yaml", "scales: [4]", "scales: [4]\nprotocols: {real: [given-x1]}", "do not fit; got given-x1"),
        ("card.yaml", "scales: [4]", "scales: [4]\nprotocols: {real: [given-4x]}", "unknown protocol 'given-4x'"),
        ("method.py", "import torch\n", "import torhc\n", "imported"),
    ):
        text = whole[folder / file]
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1))
        status, out, _ = call("validate", "method", "mine")
        assert status == 1, f"{file}: {new}"
        assert says in "\n".join(line for line in out.splitlines() if line.startswith("FAIL")), out
        (folder / file).write_text(text)


def test_validate_dataset(call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STVSR_BENCH_DATA", "nowhere")
    status, out, _ = call("validate", "dataset", "vid4")
    assert status == 1
    assert "is absent" in out
    status, out, _ = call("validate", "dataset", "folder")
    assert status == 0


def test_doctor(call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status, out, _ = call("doctor")
    assert status == 0, out
    assert re.search(r"ok +package torch: \d", out)
    monkeypatch.setenv("STVSR_BENCH_DATA", "/proc/nothing")
    status, out, _ = call("doctor")
    assert status == 1
    assert "FAIL  the data folder" in out


def test_an_unreadable_run_is_named_and_the_others_are_shown(
    call: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    (tmp_path / "clips" / "a").mkdir(parents=True)
    for i in range(3):
        cv2.imwrite(str(tmp_path / "clips" / "a" / f"{i}.png"), np.full((32, 32, 3), 40 * i, np.uint8))
    for method in ("repeat", "blend"):
        status, _, err = call("run", f"method={method}", "dataset=folder", "dataset.root=clips", "protocol=gt-t2")
        assert status == 0, err
    status, out, _ = call("list", "runs")
    assert status == 0
    assert out.count("1/1") == 2
    (damaged,) = (tmp_path / "results" / "runs" / "blend").rglob("run.json")
    damaged.write_text('{"schema_version": 1,')
    status, out, err = call("leaderboard")
    assert status == 1
    assert "repeat" in out
    assert "run.json" in out + err
    status, out, _ = call("leaderboard", "absent")
    assert status == 2
    assert json.loads((next((tmp_path / "results").rglob("repeat/**/run.json"))).read_text())["schema_version"] == 1


def test_timing_is_a_table_of_its_own(call: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    (tmp_path / "clips" / "a").mkdir(parents=True)
    for i in range(3):
        cv2.imwrite(str(tmp_path / "clips" / "a" / f"{i}.png"), np.full((32, 32, 3), 40 * i, np.uint8))
    call("run", "method=repeat", "dataset=folder", "dataset.root=clips", "protocol=gt-t2")
    status, out, _ = call("leaderboard", "--timing")
    assert status == 0
    assert "repeat" in out
