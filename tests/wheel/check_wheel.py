"""Is the wheel complete? Build it, install it where the checkout is not, and do a newcomer's first hour from there.

    .venv/bin/python tests/wheel/check_wheel.py

A plain script, called by `make test`: it prints what it does and leaves with exit status 1 at the first failure. The
wheel is built from a clean copy of what git would commit, and installed into a new virtual environment that sees the
dependencies of the environment that runs this script, but neither its editable install nor the checkout.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import Parser
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
SHARED = ("methods", "datasets", "conf", "results/golden", "results/reported")
MOST_BYTES = 5_000_000
DEMO = ["method=bicubic_blend,bicubic_dis_flow", "dataset=demo", "protocol=bi-x4t2"]

PROBE = """
import importlib.metadata as metadata, json, sys
try:
    import stvsr_bench
    file = getattr(stvsr_bench, "__file__", None)
except ImportError:
    file = None
found = [p.value for p in metadata.entry_points(group="console_scripts") if p.name == "stvsr-bench"]
print(json.dumps({"file": file, "path": sys.path, "commands": found, "version": metadata.version("stvsr-bench"),
    "home": str(metadata.distribution("stvsr-bench").locate_file(""))}))
"""


def fail(text: str) -> None:
    """End the script."""
    raise SystemExit(f"FAIL  {text}")


def require(condition: object, text: str) -> None:
    """End the script unless ``condition`` holds."""
    if not condition:
        fail(text)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Print what is done and how long it took."""
    began = time.perf_counter()
    yield
    sys.stdout.write(f"ok    {text} ({time.perf_counter() - began:.1f} s)\n")
    sys.stdout.flush()


def call(command: list[str], cwd: Path, environment: dict[str, str] | None = None) -> str:
    """Run a command and return its standard output; end the script when it fails."""
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        fail(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def clean_copy(target: Path) -> set[str]:
    """Copy what git would commit, and return the paths."""
    listed = call(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], ROOT)
    names = {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    for name in names:
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, path)
    return names


def check_content(wheel: Path, names: set[str]) -> None:
    """The wheel holds the package and the shared folders, all of them and nothing else, and says what it needs."""
    expected = {name for name in names if name.startswith("stvsr_bench/")}
    for folder in SHARED:
        inside = {name for name in names if name.startswith(f"{folder}/")}
        require(inside, f"{folder}/ is empty, so the wheel would lack it")
        expected |= {f"stvsr_bench/_share/{name}" for name in inside}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        info = next(name.partition("/")[0] for name in archive.namelist() if ".dist-info/" in name)
        metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        points = archive.read(f"{info}/entry_points.txt").decode()
    require(not expected - held, f"the wheel lacks {sorted(expected - held)}")
    require(not held - expected, f"the wheel holds more than it should: {sorted(held - expected)}")
    require(wheel.stat().st_size < MOST_BYTES, f"the wheel has {wheel.stat().st_size} bytes, more than {MOST_BYTES}")
    require("stvsr-bench = stvsr_bench.cli.app:main" in points, f"the wheel's entry points are {points!r}")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    stated = {str(Requirement(text)) for text in metadata.get_all("Requires-Dist", []) if "extra ==" not in text}
    wanted = {str(Requirement(text)) for text in project["dependencies"]}
    require(stated == wanted, f"the wheel's dependencies differ from pyproject.toml's: {sorted(stated ^ wanted)}")
    require(metadata["Requires-Python"] == project["requires-python"], f"Requires-Python {metadata['Requires-Python']}")


def make_environment(folder: Path, wheel: Path) -> Path:
    """Install ``wheel`` into a new environment, then let it see the dependencies; return its ``bin``."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    # The dependencies come afterwards: pip would take the editable install among them for this one.
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--quiet", "--disable-pip-version-check"]
    call([*pip, "install", "--no-deps", "--no-index", str(wheel)], folder)
    own = next((folder / "lib").glob("python*/site-packages"))
    # Folders named in a .pth file are put on the path as they are: .pth files inside them, by which an editable
    # install works, are not read.
    outer = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (own / "dependencies.pth").write_text("\n".join(outer) + "\n", encoding="utf-8")
    return folder / "bin"


def check_isolation(python: Path, cwd: Path, environment: dict[str, str], home: Path) -> None:
    """What is imported is the wheel's package, and the checkout is nowhere on the path."""
    seen = json.loads(call([str(python), "-c", PROBE], cwd, environment))
    require(seen["file"] and Path(seen["file"]).is_relative_to(home), f"stvsr_bench is imported from {seen['file']}")
    require(Path(seen["home"]).is_relative_to(home), f"its metadata are read from {seen['home']}")
    require(len(seen["commands"]) == 1, f"the command is registered as {seen['commands']}")
    require(str(ROOT) not in map(os.path.realpath, filter(None, seen["path"])), f"the checkout is on {seen['path']}")
    # Take the wheel's package away: nothing else may provide it.
    package = Path(seen["file"]).parent
    package.rename(package.with_name("away"))
    without = json.loads(call([str(python), "-c", PROBE], cwd, environment))
    package.with_name("away").rename(package)
    require(without["file"] is None, f"without the wheel, stvsr_bench still comes from {without['file']}")


def methods_in(table: Path) -> set[str]:
    """Return the methods that have a value in an exported leaderboard."""
    with table.open(encoding="utf-8") as file:
        return {row["method"] for row in csv.DictReader(file) if row["mean"]}


def main() -> None:
    """Do everything, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="stvsr-bench-wheel-") as name:
        folder = Path(name).resolve()
        tree, dist, home, cwd = (folder / part for part in ("tree", "dist", "venv", "empty"))
        cwd.mkdir()
        with step("the wheel is built from a clean copy of the tree"):
            names = clean_copy(tree)
            call([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(dist), "."], tree)
            (wheel,) = dist.glob("*.whl")
        with step(f"{wheel.name} holds what it should and nothing else, {wheel.stat().st_size // 1024} KiB"):
            check_content(wheel, names)
        with step("it is installed where the checkout is not"):
            programs = make_environment(home, wheel)
            shutil.rmtree(tree)
            environment = {k: v for k, v in os.environ.items() if not k.startswith(("STVSR_BENCH_", "PYTHON"))}
            environment |= {"STVSR_BENCH_DATA": str(folder / "data"), "PYTHONNOUSERSITE": "1"}
            environment["PATH"] = f"{programs}{os.pathsep}{environment.get('PATH', os.defpath)}"
            check_isolation(programs / "python", cwd, environment, home)

        def bench(line: str, **more: str) -> str:
            with step(f"stvsr-bench {line}"):
                return call([str(programs / "stvsr-bench"), *line.split()], cwd, environment | more)

        bench("--help")
        require("bicubic_dis_flow" in bench("list methods"), "`list methods` does not name bicubic_dis_flow")
        require("_share/methods/bicubic" in bench("show bicubic"), "`show bicubic` does not read the wheel's card")
        bench("doctor")
        bench(f"run -m {' '.join(DEMO)}")
        bench("leaderboard --csv board.csv")
        shown = methods_in(cwd / "board.csv")
        require(shown == {"bicubic+blend", "bicubic+dis_flow"}, f"the leaderboard has values of {shown}")
        bench("strips")
        pictures = len(list((cwd / "strips").glob("*.png")))
        require(pictures == 4, f"{pictures} comparison strips were drawn for 4 clips")
        bench("new method dropped --into ext")
        bench("validate method dropped", STVSR_BENCH_PATH="ext")
        bench("run method=dropped dataset=demo dataset.limit=1", STVSR_BENCH_PATH="ext")
        bench("leaderboard --csv board.csv")
        shown = methods_in(cwd / "board.csv")
        require("dropped" in shown, f"the dropped-in method has no value, only {shown}")
    sys.stdout.write("the wheel is complete\n")


if __name__ == "__main__":
    main()
