"""Fixtures of the tests of runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the helpers beside the tests

from run_helpers import CLIPS, write_clip

from stvsr_bench.cli.app import main


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder of three tiny clips with ground truth."""
    root = tmp_path / "clips"
    for seed, name in enumerate(CLIPS):
        write_clip(root / "GT" / name, seed)
    return root


@dataclass(frozen=True)
class Answer:
    """What a command gave back."""

    status: int
    out: str
    err: str


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Run a command in this process, from an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Answer:
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main(arguments)
        out, err = capfd.readouterr()
        return Answer(int(left.value.code or 0), out, err)

    return run
