"""`benchmarks/method_speed.py` runs where few packages are installed, and puts both forms side by side."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

TINY = ("method=rife", "method.preset=tiny", "device=cpu", "threads=1", "repeats=1")


CARD = """\
name: toy
version: 1
title: Toy
summary: A small diffusion method.
task: stvsr
status: runnable
entry: method.py:Toy
scales: [4]
time_scales: [1]
size_rule: any
deterministic: true
licence: Apache-2.0
changes: [{version: 1, date: 2026-01-01, text: first version}]
"""
KNOBS = "name: toy\nwidth: 8\nmemory: auto\ncompile: false\nscale: null\ntime_scale: null\npreset: null\n"


def _run(repository: Path, *arguments: str, before: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    script = repository / "benchmarks" / "method_speed.py"
    code = f"import runpy, sys\n{before}\nsys.argv = [{str(script)!r}, *{list(arguments)!r}]\n"
    return subprocess.run(
        [sys.executable, "-c", f"{code}runpy.run_path({str(script)!r}, run_name='__main__')"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(repository), **environment},
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
    rate = figures["product_rate"]["float32"]["flop_per_second"]
    for form in figures["forms"]:
        (stage,) = form["stages"]
        assert stage["name"] == "restore/rife"
        assert 0 < stage["flop"] <= figures["forms"][0]["stages"][0]["flop"]  # shared frames are looked at once
        assert stage["flop_per_second"] == stage["flop"] / stage["seconds"]
        assert stage["fraction_of_product_rate"] == stage["flop_per_second"] / rate > 0


@pytest.fixture
def toy(repository: Path, tmp_path: Path) -> dict[str, str]:
    """A folder with a small diffusion method, as an environment variable."""
    folder = tmp_path / "more" / "methods" / "toy"
    folder.mkdir(parents=True)
    folder.joinpath("card.yaml").write_text(CARD, encoding="utf-8")
    folder.joinpath("config.yaml").write_text(KNOBS + "allow_untrained: false\n", encoding="utf-8")
    folder.joinpath("README.md").write_text("# Toy\n", encoding="utf-8")
    shutil.copy(repository / "tests" / "methods" / "toy_diffusion.py", folder / "method.py")
    return {"STVSR_BENCH_PATH": str(tmp_path / "more")}


DIFFUSION = ("method=toy", "method.preset=tiny", "shape=4x32x48", "device=cpu", "threads=1", "weights=random")


def _flop() -> dict[str, int]:
    """What the toy computes for four frames of 32×48, by hand."""
    positions, width = 4 * 8 * 12, 8
    encode = 2 * positions * width * 3 * 4 * 4
    net = 2 * positions * (width * width + 4 * 2 * width * 4 * width)
    decode = 2 * positions * width * 48 + 2 * (4 * 32 * 48) * 3 * 3
    return {"encode": encode, "net": net, "decode": decode}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_stages_and_memory_modes_of_a_diffusion_method(
    repository: Path, tmp_path: Path, toy: dict[str, str], dtype: str
) -> None:
    target = tmp_path / "speed.json"
    options = (f"dtype={dtype}", "repeats=2", "memory=normal,low,lowest", f"json={target}")
    done = _run(repository, *DIFFUSION, *options, **toy)
    assert done.returncode == 0, done.stderr
    figures = json.loads(target.read_text(encoding="utf-8"))
    forms = figures["forms"]
    assert [form["name"] for form in forms] == ["plain", "optimised", "optimised low", "optimised lowest"]
    assert [form["plan"]["memory"]["mode"] for form in forms] == ["normal", "normal", "low", "lowest"]
    assert all(form["plan"]["precision"]["net"] == dtype for form in forms)
    assert all(form["difference_to_optimised"] == 0 for form in forms[1:])
    expected = {f"restore/toy.{name}": count for name, count in _flop().items()}
    for form in forms:
        stages = {stage["name"]: stage for stage in form["stages"]}
        assert list(stages) == ["restore/toy.prepare", *expected]
        assert {name: stages[name]["flop"] for name in expected} == expected
        assert stages["restore/toy.prepare"]["flop"] == 0
        assert sum(stage["seconds"] for stage in form["stages"]) <= max(form["seconds"])
    assert list(figures["product_rate"]) == [dtype]
    assert "optimised lowest" in done.stdout
    assert "GFLOP" in done.stdout


def test_counting_without_running(repository: Path, tmp_path: Path, toy: dict[str, str]) -> None:
    target = tmp_path / "count.json"
    done = _run(repository, *DIFFUSION, "count=true", f"json={target}", **toy)
    assert done.returncode == 0, done.stderr
    figures = json.loads(target.read_text(encoding="utf-8"))
    assert (figures["device"], figures["lq"]) == ("meta", [4, 8, 12])
    assert figures["flop"] == {f"restore/toy.{name}": count for name, count in _flop().items()}
    assert "restore/toy.net: 0.00 GFLOP" in done.stdout


def test_what_needs_values_cannot_be_counted(repository: Path) -> None:
    done = _run(repository, *TINY, "shape=3x8x8", "count=true")
    assert done.returncode != 0
    assert "cannot be counted without running" in done.stderr


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
        (("method=rife", "shape=3x8x8", "count=3"), "count"),
        (("method=rife", "shape=3x8x8", "memory=small"), "normal, low, lowest"),
        (("method=rife", "shape=3x8x8", "method.preset=tiny", "memory=low"), "has no memory modes"),
    ],
)
def test_wrong_options_are_explained(repository: Path, arguments: tuple[str, ...], complaint: str) -> None:
    main = runpy.run_path(str(repository / "benchmarks" / "method_speed.py"))["main"]
    with pytest.raises(SystemExit, match=re.escape(complaint)):
        main(arguments)


def test_factors_that_are_not_fixed_are_those_the_method_was_trained_for(repository: Path) -> None:
    from stvsr_bench.methods.factory import build_method

    request_for = runpy.run_path(str(repository / "benchmarks" / "method_speed.py"))["request_for"]
    asked = {
        name: request_for(build_method(name, knobs), (33, 720, 1280))
        for name, knobs in {"diffst": {"preset": "tiny"}, "blend": {}, "bicubic": {}}.items()
    }
    assert {name: (r.scale, r.time_scale) for name, r in asked.items()} == {
        "diffst": (4, 4),
        "blend": (1, 2),
        "bicubic": (4, 1),
    }
