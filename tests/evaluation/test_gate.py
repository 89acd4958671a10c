"""The regression gate: a clean run passes, a one-pixel shift does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stvsr_bench.core.paths import golden_dir
from stvsr_bench.methods.base import Request
from stvsr_bench.methods.resize import Bicubic
from stvsr_bench.video.clip import Frames


@pytest.mark.slow
def test_a_clean_run_passes_and_a_shift_of_one_pixel_does_not(
    call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    monkeypatch.setenv("STVSR_BENCH_DATA", str(repository / "data"))
    clean = call("check", "--keep", "kept")
    assert clean.status == 0, clean.out
    assert "no value differs" in clean.out
    again = call("check", "--keep", "kept")
    assert again.status == 2
    assert "is not empty" in again.err

    whole = Bicubic.restore_block

    def shifted(self: Bicubic, frames: Frames, request: Request) -> torch.Tensor:
        return whole(self, frames, request).roll(1, dims=-1)

    monkeypatch.setattr(Bicubic, "restore_block", shifted)
    planted = call("check")
    assert planted.status == 1
    changed = [line for line in planted.out.splitlines() if "psnr_y_crop4" in line]
    assert changed
    assert all("bicubic" in line for line in changed)
    assert "values differ" in planted.out


def test_an_update_needs_a_reason(call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    before = (golden_dir() / "demo.json").read_bytes()
    monkeypatch.setattr("stvsr_bench.evaluation.gate.run_suite", lambda results, console: results.mkdir(exist_ok=True))
    answer = call("check", "--update", " ")
    assert answer.status == 2
    assert "reason" in answer.err
    assert (golden_dir() / "demo.json").read_bytes() == before
