"""A package that brings one method, one dataset and one metric, pip-installed and used from the command line."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("plugin")  # the package is installed once

PACKAGE = Path(__file__).parent / "package"
BROKEN = """\
[stvsr_bench.methods]
no_such_package = nowhere_to_be_found.method
no_card = json

[stvsr_bench.metrics]
no_such_module = nowhere_to_be_found:METRICS
no_metric = json:JSONDecoder
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder into which the plug-in was installed, as pip installs any package."""
    folder = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(PACKAGE, folder / "source")
    target = folder / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    command += ["--no-deps", "--no-build-isolation", "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def bench(*arguments: str, cwd: Path, paths: list[Path]) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own that finds packages in ``paths`` too."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("STVSR_BENCH_")}
    found = [*map(str, paths), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment |= {"PYTHONPATH": os.pathsep.join(found), "STVSR_BENCH_DATA": str(cwd / "data")}
    program = [sys.executable, "-c", "from stvsr_bench.cli.app import main; main()"]
    return subprocess.run([*program, *arguments], capture_output=True, text=True, check=False, cwd=cwd, env=environment)


@pytest.mark.parametrize("kind", ["method", "dataset", "metric"])
def test_a_plug_in_is_listed_with_its_origin(installed: Path, tmp_path: Path, kind: str) -> None:
    without = bench("list", f"{kind}s", cwd=tmp_path, paths=[])
    assert f"plug_{kind}" not in without.stdout
    done = bench("list", f"{kind}s", cwd=tmp_path, paths=[installed])
    assert done.returncode == 0, done.stdout + done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith(f"plug_{kind}"))
    assert {"metric": "package stvsr_plug"}.get(kind, "package stvsr-plug") in line


def test_a_plug_in_runs_by_name(installed: Path, tmp_path: Path) -> None:
    for kind in ("method", "dataset"):
        done = bench("validate", kind, f"plug_{kind}", cwd=tmp_path, paths=[installed])
        assert done.returncode == 0, done.stdout + done.stderr
    overrides = ["method=plug_method", "dataset=plug_dataset", "protocol=bi-x4", "method.levels=5"]
    done = bench("run", *overrides, "metrics.ids=[plug_metric]", cwd=tmp_path, paths=[installed])
    assert done.returncode == 0, done.stdout + done.stderr
    done = bench("leaderboard", "--csv", "board.csv", cwd=tmp_path, paths=[installed])
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "board.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["dataset"], row["metric"]) for row in rows] == [
        ("plug_method[levels=5]", "plug_dataset", "plug_metric")
    ]
    assert float(rows[0]["mean"]) == 5.0  # flat clips stay flat under bicubic, so the error is what was added
    assert (rows[0]["n"], rows[0]["expected"], rows[0]["rank"]) == ("2", "2", "1")


def test_broken_entry_points_are_reported_and_break_nothing(installed: Path, tmp_path: Path) -> None:
    info = tmp_path / "broken" / "broken_plug-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plug\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(BROKEN, encoding="utf-8")
    for kind, faults in (("methods", ("no_such_package", "no_card")), ("metrics", ("no_such_module", "JSONDecoder"))):
        done = bench("list", kind, cwd=tmp_path, paths=[installed, info.parent])
        assert f"\nplug_{kind[:-1]}" in done.stdout, done.stdout + done.stderr
        problems = [line for line in done.stdout.splitlines() if line.startswith("problem: ")]
        assert len(problems) == 2
        for fault in faults:
            assert any(fault in problem for problem in problems), problems
        assert "Traceback" not in done.stderr
        assert done.returncode == 1
