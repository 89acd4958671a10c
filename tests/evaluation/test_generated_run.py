"""Runs under protocols that make LQ sets: made once, never by a dry run, read as they were made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
from run_helpers import CLIPS, folder_of

from stvsr_bench.video.hashed import HashedClip

PROTOCOL = "diffst-x4t4"


@pytest.fixture
def command(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A run of bicubic, with the sets in a data root of its own."""
    monkeypatch.setenv("STVSR_BENCH_DATA", str(tmp_path / "data"))
    return [
        "run",
        "method=bicubic_blend",
        *folder_of(clips),
        f"protocol={PROTOCOL}",
        "metrics.ids=[psnr_rgb]",
        "results_dir=out",
    ]


def samples(root: Path) -> dict[str, Any]:
    """Every stored result, by clip."""
    return {path.stem: json.loads(path.read_text()) for path in root.glob("out/**/samples/*.json")}


def sets(root: Path) -> list[Path]:
    """Every stored set."""
    return sorted(path.parent for path in (root / "data" / "generated").rglob("set.json"))


def test_a_dry_run_generates_nothing(call: Callable[..., Any], command: list[str], tmp_path: Path) -> None:
    answer = call(*command, "--dry-run")
    assert answer.status == 0, answer.err
    assert "the LQ set will be made with dove@" in answer.out
    assert not (tmp_path / "data").exists()
    assert call(*command).status == 0
    answer = call(*command, "--dry-run")
    assert "the LQ set is stored" in answer.out
    assert "will be made" not in answer.out


@pytest.mark.parametrize("overlap", ["true", "false"])
def test_sets_are_made_once(
    call: Callable[..., Any], command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overlap: str
) -> None:
    command.append(f"executor.overlap={overlap}")
    answer = call(*command)
    assert answer.status == 0, answer.err
    made = sets(tmp_path)
    assert [path.parent.name for path in made] == list(CLIPS)
    first = samples(tmp_path)
    for folder in made:
        origin = first[folder.parent.name]["restore"]["lq"]["generated"]
        record = json.loads((folder / "set.json").read_text())
        assert origin["lq_hash"] == record["lq_hash"]
        assert origin["recipe_hash"] == record["recipe_hash"]
        assert origin["libraries"] == record["libraries"]
        assert first[folder.parent.name]["restore"]["lq"]["frames"] == 3
        assert record["frames"] == 9
    states = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*") if path.is_file()}
    with monkeypatch.context() as patched:
        patched.setattr(HashedClip, "pixel_hash", _not_called)
        assert call(*command).out.count("already done") == 3
    assert {path: path.stat().st_mtime_ns for path in states} == states
    # another method reads the same sets
    answer = call(*[part.replace("bicubic_blend", "bicubic_dis_flow") for part in command])
    assert answer.status == 0, answer.err
    assert {path: path.stat().st_mtime_ns for path in states} == states
    other = {p.stem: json.loads(p.read_text()) for p in tmp_path.glob("out/bicubic+dis_flow/**/samples/*.json")}
    assert len(other) == 3
    assert {n: s["restore"]["lq"] for n, s in other.items()} == {n: s["restore"]["lq"] for n, s in first.items()}


def _not_called(*_: object) -> None:
    raise AssertionError("pixels were decoded again")


def test_a_lost_set_is_made_again_and_the_results_stay(
    call: Callable[..., Any], command: list[str], tmp_path: Path
) -> None:
    assert call(*command).status == 0
    before = {path: (path / "set.json").read_bytes() for path in sets(tmp_path)}
    shutil.rmtree(tmp_path / "data")
    answer = call(*command)
    assert answer.status == 0
    assert answer.out.count("already done") == 3
    assert {path: (path / "set.json").read_bytes() for path in sets(tmp_path)} == before


def test_an_edited_set_fails_its_clip_only(call: Callable[..., Any], command: list[str], tmp_path: Path) -> None:
    assert call(*command).status == 0
    finished = samples(tmp_path)
    frame = sets(tmp_path)[1] / "frames" / "00000004.png"
    image = cv2.imread(str(frame))
    image[0, 0, 0] ^= 1
    cv2.imwrite(str(frame), image)
    edited = frame.read_bytes()
    answer = call(*command)
    assert answer.status == 1
    assert answer.out.count("already done") == 2
    assert "00000004.png" in answer.out
    assert samples(tmp_path) == finished
    assert frame.read_bytes() == edited


def test_worker_processes_share_the_sets(call: Callable[..., Any], command: list[str], tmp_path: Path) -> None:
    assert call(*command).status == 0
    before = {path: (path / "set.json").read_bytes() for path in sets(tmp_path)}
    shutil.rmtree(tmp_path / "data")
    shutil.rmtree(tmp_path / "out")
    answer = call(*command, "executor.workers=2")
    assert answer.status == 0, answer.out
    assert {path: (path / "set.json").read_bytes() for path in sets(tmp_path)} == before
