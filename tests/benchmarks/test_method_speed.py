"""`benchmarks/method_speed.py` runs where few packages are installed, and puts both forms side by side."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

TINY = ("method=rife", "method.preset=tiny", "device=cpu", "threads=1", "repeats=1")


def _run(repository: Path, *arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    script = repository / "benchmarks" / "method_speed.py"
    code = f"import runpy, sys\n{before}\nsys.argv = [{str(script)!r}, *{list(arguments)!r}]\n"
    return subprocess.run(
        [sys.executable, "-c", f"{code}runpy.run_path({str(script)!r}, run_name='__main__')"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(repository)},
    )


def test_both_forms_are_measured_on_a_bare_machine(repository: Path, tmp_path: Path) -> None:
    frames = tmp_path / "frames.safetensors"
    save_file({name: torch.randint(0, 256, (1, 3, 20, 24), dtype=torch.uint8) for name in "ab"}, frames)
    # what is None here cannot be imported
    bare = "sys.modules.update(dict.fromkeys(('cv2', 'hydra', 'kornia', 'pandas', 'torchvision')))"
    target = tmp_path / "speed.json"
    done = _run(repository, *TINY, "shape=5x40x48", f"frames={frames}", f"json={target}", before=bare)
    assert done.returncode == 0, done.stderr
    figures = json.loads(target.read_text(encoding="utf-8"))
    assert figures["method"] == "rife[4.0+refine,preset=tiny]"
    assert figures["untrained"]
    assert (figures["shape"], figures["lq"]) == ([5, 40, 48], [3, 40, 48])
    assert [form["name"] for form in figures["forms"]] == ["plain", "optimised"]
    assert figures["forms"][1]["largest_difference"] <= 1
    assert all(len(form["seconds"]) == 1 and form["frames_per_second"] > 0 for form in figures["forms"])
    assert figures["ratio"] > 0
    assert figures["psnr_float16_minus_float32"] is None
    assert "not measured" in done.stdout


def test_a_forbidden_import_fails_the_run(repository: Path) -> None:
    done = _run(
        repository, *TINY, "shape=1x8x8", before="import types; sys.modules['skimage'] = types.ModuleType('skimage')"
    )
    assert done.returncode != 0
    assert "skimage" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("shape=3x8x8",), "method and shape are needed"),
        (("method=rife", "shape=3x8"), "FRAMESxHEIGHTxWIDTH"),
        (("method=rife", "shape=4x8x8", "method.preset=tiny"), "k·2 + 1 frames"),
        (("method=rife", "shape=3x8x8", "speed=1"), "unknown option"),
        (("method=rifle", "shape=3x8x8"), "rife"),
        (("method=rife", "shape=3x8x8", "repeats=0"), "repeats"),
    ],
)
def test_wrong_options_are_explained(repository: Path, arguments: tuple[str, ...], complaint: str) -> None:
    main = runpy.run_path(str(repository / "benchmarks" / "method_speed.py"))["main"]
    with pytest.raises(SystemExit, match=re.escape(complaint)):
        main(arguments)
