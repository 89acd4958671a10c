"""The command ``diagnose``, and the warnings that stay with outputs made elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stvsr_bench.cli.app import main
from stvsr_bench.data.demo.render import render
from stvsr_bench.data.demo.scenes import SCENES
from stvsr_bench.video.clip import Frames
from stvsr_bench.video.writing import open_writer

Call = Callable[..., tuple[int, str, str]]
COUNT = 9


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Run a command in this process, from an empty folder; returns status, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main(arguments)
        return int(left.value.code or 0), *capfd.readouterr()

    return run


@pytest.fixture(scope="module")
def truth() -> Frames:
    """A part of a demo clip."""
    frames = np.stack([render(SCENES["chelsea"], t)[:128, :160] for t in range(COUNT)])
    return torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous()


def moved(frames: Frames) -> Frames:
    """Two pixels to the right."""
    return torch.cat([frames[..., :1], frames[..., :1], frames[..., :-2]], dim=-1)


def write(path: Path, frames: Frames, kind: str = "png") -> None:
    with open_writer(path, kind, frames.shape[2], frames.shape[3]) as writer:
        writer.write(frames)


def test_a_clean_clip(call: Call, truth: Frames, tmp_path: Path) -> None:
    write(tmp_path / "mine", truth)
    write(tmp_path / "gt.mkv", truth, "ffv1")
    status, out, err = call("diagnose", "mine", "--gt", "gt.mkv")
    assert status == 0, err
    assert "none" in out
    assert "warning" not in out.replace("warnings", "")


def test_warnings_leave_the_status_at_zero(call: Call, truth: Frames, tmp_path: Path) -> None:
    write(tmp_path / "out" / "one", truth)
    write(tmp_path / "out" / "two%20words", moved(truth))
    write(tmp_path / "out" / "extra", truth)
    for name in ("one", "two words", "lonely"):
        write(tmp_path / "set" / "GT" / name, truth)
    status, out, err = call("diagnose", "out", "--gt", "set", "--json", "found.json")
    assert status == 0, err
    assert re.search(r"two words: warning: the output lies (1\.9|2\.0)\d pixels right of the ground truth", out)
    assert "no output for 1 clip(s): lonely" in out
    assert "no ground truth for 1 clip(s): extra" in out
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found["clips"]["one"]["findings"] == []
    assert [f["kind"] for f in found["clips"]["two words"]["findings"]] == ["spatial_shift"]
    assert found["clips"]["two words"]["measured"]["shift_x"] == pytest.approx(2, abs=0.05)


def test_other_sizes_and_counts_are_reported(call: Call, truth: Frames, tmp_path: Path) -> None:
    write(tmp_path / "gt", truth)
    write(tmp_path / "small", truth[:, :, ::2, ::2].contiguous())
    status, out, _ = call("diagnose", "small", "--gt", "gt")
    assert status == 0
    assert "80×64" in out
    write(tmp_path / "short", truth[:-2])
    status, out, _ = call("diagnose", "short", "--gt", "gt")
    assert status == 0
    assert "7 frames and the ground truth 9" in out


def test_one_bad_clip_fails_itself_only(call: Call, truth: Frames, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / "out" / name, truth)
        write(tmp_path / "gt" / name, truth)
    victim = sorted((tmp_path / "out" / "a").iterdir())[4]
    victim.write_bytes(victim.read_bytes()[:99])
    status, out, _ = call("diagnose", "out", "--gt", "gt")
    assert status == 1
    assert "a: cannot be diagnosed" in out
    assert victim.name in out
    assert any(line.startswith("b ") and "none" in line for line in out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("absent", "--gt", "gt"), "absent"),
        (("clips", "--gt", "gt"), "a folder of clips and one clip"),
        (("clips", "--gt", "others"), "no clip in"),
        (("clips",), "--gt"),
    ],
)
def test_nothing_to_compare(call: Call, truth: Frames, tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    write(tmp_path / "gt", truth[:2])
    write(tmp_path / "clips" / "a", truth[:2])
    write(tmp_path / "others" / "b", truth[:2])
    status, _, err = call("diagnose", *arguments)
    assert status == 2
    assert says in err
    assert "Traceback" not in err


def record_of(folder: Path) -> dict[str, Any]:
    (path,) = folder.rglob("samples/*.json")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_warnings_stay_in_the_result_of_outputs(call: Call, truth: Frames, tmp_path: Path) -> None:
    write(tmp_path / "set" / "GT" / "one", truth)
    write(tmp_path / "made" / "one", moved(truth))
    wanted = ["dataset=folder", "dataset.root=set", "dataset.name=mine", "protocol=bi-x4", "results_dir=runs"]
    ours = ["run", "method=outputs", "method.dir=made", "method.label=theirs", *wanted]
    status, out, err = call(*ours, "metrics.ids=[psnr_rgb]")
    assert status == 0, err
    assert re.search(r"diagnosis: the output lies (1\.9|2\.0)\d pixels right", out)
    record = record_of(tmp_path / "runs")
    assert [finding["kind"] for finding in record["diagnosis"]["findings"]] == ["spatial_shift"]
    warning = "diagnosis: " + record["diagnosis"]["findings"][0]["text"]
    assert warning in record["notes"]
    # Another metric scores the kept outputs: the warning stays.
    status, _, err = call(*ours, "metrics.ids=[psnr_rgb,ssim_rgb]")
    assert status == 0, err
    again = record_of(tmp_path / "runs")
    assert set(again["scores"]) == {"psnr_rgb", "ssim_rgb"}
    assert warning in again["notes"]
    # Corrected outputs are diagnosed again.
    write(tmp_path / "made" / "one", truth)
    status, out, err = call(*ours, "metrics.ids=[psnr_rgb]")
    assert status == 0, err
    corrected = record_of(tmp_path / "runs")
    assert corrected["diagnosis"]["findings"] == []
    assert not any("diagnosis" in note for note in corrected["notes"])


def test_a_method_of_ours_is_not_diagnosed(call: Call, truth: Frames, tmp_path: Path) -> None:
    write(tmp_path / "set" / "GT" / "one", truth)
    status, _, err = call(
        *("run", "method=bicubic", "dataset=folder", "dataset.root=set", "dataset.name=mine", "protocol=bi-x4"),
        *("results_dir=runs", "metrics.ids=[psnr_rgb]"),
    )
    assert status == 0, err
    assert "diagnosis" not in record_of(tmp_path / "runs")
