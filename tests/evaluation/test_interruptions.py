"""Killed, doubled and starved runs: nothing finished is lost, nothing half-written is taken for complete."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_helpers import folder_of, start

SLOW_METHOD = """
import time
from stvsr_bench.methods.base import Method

class Slow(Method):
    task = "vsr"
    scales = frozenset({4})
    chunk = 1

    def __init__(self, *, name, scale=None, time_scale=None, preset=None, allow_untrained=False, pause=0.05):
        super().__init__(name=name, scale=scale, time_scale=time_scale, preset=preset, allow_untrained=allow_untrained)
        self.pause = pause

    def restore_float(self, frames, request):
        time.sleep(self.pause)
        return frames.repeat_interleave(4, -1).repeat_interleave(4, -2)
"""
CARD = """
name: slow
version: 1
title: Slow
summary: Sleeps before every frame.
task: vsr
status: runnable
entry: method.py:Slow
scales: [4]
time_scales: [1]
deterministic: true
licence: Apache-2.0
changes:
  - {date: 2026-01-01, version: 1, text: First version.}
"""


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dropped-in method that takes its time."""
    folder = tmp_path / "ext" / "methods" / "slow"
    folder.mkdir(parents=True)
    (folder / "card.yaml").write_text(CARD)
    (folder / "config.yaml").write_text("pause: 0.05\n")
    (folder / "method.py").write_text(SLOW_METHOD)
    monkeypatch.setenv("STVSR_BENCH_PATH", str(tmp_path / "ext"))


def table(call: Callable[..., Any], root: Path, results: str) -> bytes:
    assert call("leaderboard", results, "--csv", "t.csv", "--markdown", "t.md", "--latex", "t.tex").status == 0
    return b"".join((root / f"t.{kind}").read_bytes() for kind in ("csv", "md", "tex"))


@pytest.mark.usefixtures("slow")
def test_killed_again_and_again(
    call: Callable[..., Any], clips: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "method=slow", *folder_of(clips), "protocol=bi-x4", "metrics.ids=[psnr_rgb,ssim_rgb]"]
    assert call(*command, "results_dir=calm").status == 0
    kills = inside = 0
    dice = random.Random(0)
    while kills < 4 or not inside:
        assert kills < 20, "no kill hit the inside of a sample"
        outputs = tmp_path / "killed" / "slow" / "tiny" / "bi-x4"
        left_before = set(outputs.glob("*/outputs/.tmp-*"))  # of the run killed before; the next one sweeps them
        process = start([*command, "results_dir=killed"], tmp_path)
        deadline = time.monotonic() + 60
        while not set(outputs.glob("*/outputs/.tmp-*")) - left_before and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(dice.uniform(0.0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        if process.returncode != -signal.SIGKILL:
            break  # it was done before the kill
        kills += 1
        inside += any(list(left.glob("*.png")) for left in set(outputs.glob("*/outputs/.tmp-*")) - left_before)
        for path in outputs.glob("*/samples/*.json"):
            json.loads(path.read_text())
    answer = call(*command, "results_dir=killed")
    assert answer.status == 0
    with capfd.disabled():
        print(f"\n{kills} kills, {inside} of them inside a sample", file=sys.stderr)
    assert kills >= 2
    assert inside >= 1
    assert table(call, tmp_path, "killed") == table(call, tmp_path, "calm")
    assert not list((tmp_path / "killed").rglob(".tmp-*"))


@pytest.mark.usefixtures("slow")
def test_two_processes_share_the_work(call: Callable[..., Any], clips: Path, tmp_path: Path) -> None:
    command = ["run", "method=slow", *folder_of(clips), "protocol=bi-x4", "metrics.ids=[psnr_rgb]", "method.pause=0.2"]
    both = [start(command, tmp_path) for _ in range(2)]
    texts = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], texts
    assert sum(text.count(": restored") for text in texts) == 3
    assert sum(text.count(": already done") for text in texts) == 3
    assert all(": restored" in text for text in texts)
    numbers = [[line for line in text.splitlines() if "slow" in line and "3/3" in line] for text in texts]
    assert numbers[0]
    assert numbers[0] == numbers[1]


def test_a_full_disk(call: Callable[..., Any], clips: Path, tmp_path: Path) -> None:
    """A limit on the size of files makes every larger write fail as a full disk does."""
    code = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))\n"
        "from stvsr_bench.cli.app import main; main()\n"
    )
    command = ["run", "method=bicubic", *folder_of(clips), "protocol=bi-x4", "metrics.ids=[psnr_rgb]"]
    done = subprocess.run(
        [sys.executable, "-c", code, *command], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode in (1, 2)
    assert "File too large" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("results/**/outputs/*"))
    assert not list(tmp_path.glob("results/**/samples/*.json"))
    assert call(*command).status == 0


def test_interrupted_by_hand(clips: Path, tmp_path: Path, slow: None) -> None:
    command = ["run", "method=slow", *folder_of(clips), "protocol=bi-x4", "method.pause=0.5", "metrics.ids=[psnr_rgb]"]
    process = start(command, tmp_path)
    while not list(tmp_path.glob("results/**/outputs/.tmp-*")):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in text
    assert "Traceback" not in text
    assert not list(tmp_path.rglob("outputs/*"))


def test_a_read_only_results_folder(call: Callable[..., Any], clips: Path, tmp_path: Path) -> None:
    target = tmp_path / "results"
    target.write_text("a file where the folder should be")
    answer = call("run", "method=bicubic", *folder_of(clips), "protocol=bi-x4", "metrics.ids=[psnr_rgb]")
    assert answer.status == 2
    assert "results_dir" in answer.err
    assert os.path.isfile(target)
