"""What may import what: the direction of design.md, a start without torch, and no shadow over other packages."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "stvsr_bench"

# Each part may import itself and every part of the layers below its own …
LAYERS = (
    {"core"},
    {"nn", "weights", "video", "degradation"},
    {"methods", "data", "metrics", "report"},
    {"evaluation"},
    {"cli"},
)
# … and these neighbours in its own layer.
NEIGHBOURS = {
    ("degradation", "video"),  # rounding to uint8 is written once
    ("report", "metrics"),  # the catalogue: units and directions of table columns
}
# Packages that a part never imports at all, not even inside a function.
NEVER = {"core": {"torch", "torchvision", "hydra", "omegaconf"}}
# Modules of methods/ that every method may import; a cascade gets its stages by name, through the factory.
SHARED_BY_METHODS = {"base", "learned", "diffusion", "splitting"}
USERS_OF_THE_FACTORY = {"cascade"}

LONGEST = 600
HEAVY = {
    *("torch", "torchvision", "kornia", "diffusers", "transformers", "peft", "pyiqa", "lpips"),
    *("cv2", "av", "decord", "skimage", "pandas", "hydra", "omegaconf"),
}


def imports_of(path: Path, package: Path) -> Iterator[tuple[str, int]]:
    """Yield the absolute dotted name of everything that the file imports, wherever it stands, with its line."""
    parts = path.relative_to(package.parent).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(parts[: -node.level]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            yield from ((f"{module}.{alias.name}", node.lineno) for alias in node.names)


def violations(package: Path) -> list[str]:
    """Return every import below ``package`` that goes against the rules."""
    level = {part: number for number, layer in enumerate(LAYERS) for part in layer}
    found = []
    for path in sorted(package.rglob("*.py")):
        inner = path.relative_to(package)
        if len(inner.parts) == 1:  # stvsr_bench/__init__.py: loads the API when it is first used
            continue
        part = inner.parts[0]
        unit = Path(inner.parts[1]).stem
        for name, line in imports_of(path, package):
            where = f"{inner}:{line} imports {name}"
            if part not in level:
                found.append(f"{inner}: '{part}' is no part of design.md")
                break
            top, *rest = name.split(".")
            if top in NEVER.get(part, ()):
                found.append(f"{where}: {part} never imports {top}")
            if top != package.name or not rest or rest[0] not in level:
                continue
            other = rest[0]
            if other != part and level[other] >= level[part] and (part, other) not in NEIGHBOURS:
                found.append(f"{where}: {part} is not above {other}")
            if part == other == "methods" and len(rest) > 1 and unit not in SHARED_BY_METHODS | {"factory"}:
                allowed = SHARED_BY_METHODS | {unit} | ({"factory"} if unit in USERS_OF_THE_FACTORY else set())
                if rest[1] not in allowed:
                    found.append(f"{where}: methods do not import each other")
    return found


def test_imports_point_one_way() -> None:
    assert violations(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "code", "complaint"),
    [
        ("metrics/psnr.py", "from stvsr_bench.methods.base import Method", "metrics is not above methods"),
        ("methods/blend.py", "import stvsr_bench.metrics.psnr", "methods is not above metrics"),
        ("methods/blend.py", "from stvsr_bench.methods.bicubic import Bicubic", "methods do not import each other"),
        ("methods/blend.py", "from . import bicubic", "methods do not import each other"),
        ("methods/blend.py", "from stvsr_bench.methods.factory import build_method", "do not import each other"),
        ("report/tables.py", "def f():\n    from stvsr_bench.evaluation import api", "report is not above evaluation"),
        ("data/dataset.py", "from ..cli.output import say", "data is not above cli"),
        ("video/clip.py", "from stvsr_bench.data.sample import Sample", "video is not above data"),
        ("nn/warp.py", "from stvsr_bench.video.color import to_float", "nn is not above video"),
        ("core/paths.py", "def f():\n    import torch.nn", "core never imports torch"),
        ("core/paths.py", "from hydra import compose", "core never imports hydra"),
        ("helpers/x.py", "import os", "'helpers' is no part of design.md"),
    ],
)
def test_a_planted_violation_is_seen(tmp_path: Path, file: str, code: str, complaint: str) -> None:
    path = tmp_path / "stvsr_bench" / file
    path.parent.mkdir(parents=True)
    path.write_text(code, encoding="utf-8")
    found = violations(tmp_path / "stvsr_bench")
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("methods/blend.py", "from stvsr_bench.methods.base import Method\nfrom stvsr_bench.nn.warp import warp"),
        ("methods/cascade.py", "from stvsr_bench.methods.factory import build_method"),
        ("methods/rife/model.py", "from stvsr_bench.methods.rife.flow import Flow\nfrom . import flow"),
        ("evaluation/plan.py", "import torch\nfrom stvsr_bench.methods.base import Method"),
        ("core/paths.py", "import stvsr_bench\nfrom pathlib import Path"),
    ],
)
def test_what_is_allowed_is_not_seen_as_a_violation(tmp_path: Path, file: str, code: str) -> None:
    path = tmp_path / "stvsr_bench" / file
    path.parent.mkdir(parents=True)
    path.write_text(code, encoding="utf-8")
    assert violations(tmp_path / "stvsr_bench") == []


PROBE = """
import contextlib, io, json, sys
import stvsr_bench
watched = set(json.loads(sys.argv[1]))
report = {"import stvsr_bench": [0, sorted(watched & set(sys.modules))]}
for line in json.loads(sys.argv[2]):
    from stvsr_bench.cli.app import main
    status = 0
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            main(line.split())
        except SystemExit as leave:
            status = leave.code
    report[line] = [status, sorted(watched & set(sys.modules))]
print(json.dumps(report))
"""


def loaded_by(commands: list[str], watched: set[str], folder: Path) -> dict[str, tuple[int, list[str]]]:
    """Run commands one after another in a fresh process; return status and watched modules after each."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(sorted(watched)), json.dumps(commands)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={key: value for key, value in os.environ.items() if not key.startswith("STVSR_BENCH_")},
    )
    assert done.returncode == 0, done.stderr
    return {name: (status, modules) for name, (status, modules) in json.loads(done.stdout).items()}


def test_listing_and_help_load_nothing_heavy(tmp_path: Path) -> None:
    commands = ["--help", "--version", "run --help", "prepare --help", "new --help", "list --help"]
    commands += [f"list {kind}" for kind in ("methods", "datasets", "protocols", "metrics", "weights")]
    commands += ["fetch --help", "show bicubic", "show vid4", "show bi-x4t2", "show psnr_y_crop4"]
    seen = loaded_by(commands, HEAVY | {"click", "rich"}, tmp_path)
    assert "click" in seen["--help"][1], "the probe does not see what is loaded"
    for command, (status, modules) in seen.items():
        assert status == 0, command
        assert HEAVY.isdisjoint(modules), f"`{command}` is the first to load {sorted(HEAVY & set(modules))}"


def test_the_hugging_face_package_is_not_shadowed() -> None:
    code = "import json, datasets; print(json.dumps([datasets.__file__, callable(datasets.load_dataset)]))"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT, env=environment
    )
    assert done.returncode == 0, done.stderr
    file, callable_ = json.loads(done.stdout)
    assert "site-packages" in Path(file).parts
    assert callable_
    spec = importlib.util.find_spec("datasets")
    assert spec is not None
    assert spec.origin is not None
    for folder in ("datasets", "methods", "results", "conf"):
        assert not (ROOT / folder / "__init__.py").exists()


def test_no_module_is_longer_than_one_sitting() -> None:
    folders = ("stvsr_bench", "methods", "datasets", "tests", "benchmarks", "docs")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 50
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {str(path.relative_to(ROOT)): n for path, n in lengths.items() if n > LONGEST} == {}
