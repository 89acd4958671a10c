"""docs/design/dependencies.md says the truth about pyproject.toml and about what is imported where."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
IMPORTED_AS = {
    "hydra-core": "hydra",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "scikit-image": "skimage",
    "huggingface-hub": "huggingface_hub",
    "imageio-ffmpeg": "imageio_ffmpeg",
}
READ_AS_FILES = {"scikit-image": 'importlib.resources.files("skimage.data")'}


def project() -> dict[str, list[str]]:
    """Return names of the dependencies at run time, of extras and for development, as pyproject.toml states them."""
    facts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = facts["optional-dependencies"]
    own = [text for text in extras["dev"] if Requirement(text).name != facts["name"]]
    groups = {
        "At run time": facts["dependencies"],
        "Extras": [text for name, texts in extras.items() if name != "dev" for text in texts],
        "For development": own,
    }
    return {title: [canonicalize_name(Requirement(text).name) for text in texts] for title, texts in groups.items()}


def page() -> dict[str, dict[str, str]]:
    """Return, by section of the page and package, what uses it."""
    found: dict[str, dict[str, str]] = {}
    text = (ROOT / "docs" / "design" / "dependencies.md").read_text(encoding="utf-8")
    for section in text.split("\n## ")[1:]:
        rows = re.findall(r"^\| (?!package )([\w.-]+) \| (.*) \|", section, re.MULTILINE)
        found[section.partition("\n")[0]] = {canonicalize_name(name): users for name, users in rows}
    return found


def imported(path: Path) -> set[str]:
    """Return the top-level packages that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_the_page_lists_exactly_the_dependencies() -> None:
    listed = page()
    for title, names in project().items():
        assert sorted(listed[title]) == sorted(names)


def test_a_module_named_on_the_page_uses_the_package() -> None:
    for name, users in {**page()["At run time"], **page()["Extras"]}.items():
        modules = re.findall(r"`(stvsr_bench/[\w/]+\.py)`", users)
        assert bool(modules) != users.startswith("announced: "), name
        for module in modules:
            path = ROOT / module
            wanted = IMPORTED_AS.get(name, name)
            uses = READ_AS_FILES.get(name, "\0") in path.read_text(encoding="utf-8") or wanted in imported(path)
            assert uses, f"{module} does not use {name}"
    for name, users in page()["For development"].items():
        paths = re.findall(r"`([\w/]+(?:\.\w+)?)`", users)
        assert paths, name
        assert (ROOT / paths[0]).is_file(), f"{name}: {paths[0]}"


def test_the_development_extra_brings_the_others() -> None:
    """So that continuous integration runs the tests of every metric."""
    facts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = facts["optional-dependencies"]
    brought = {e for text in extras["dev"] if (need := Requirement(text)).name == facts["name"] for e in need.extras}
    assert brought == set(extras) - {"dev"}
    listed = re.findall(
        r"^\| ([\w.-]+) \| `(\w+)` \|", (ROOT / "docs/design/dependencies.md").read_text(), re.MULTILINE
    )
    stated = {(canonicalize_name(Requirement(t).name), name) for name in brought for t in extras[name]}
    assert {(canonicalize_name(package), extra) for package, extra in listed} == stated


def test_what_waits_for_an_announced_part_is_imported_nowhere_yet() -> None:
    everywhere = set().union(*(imported(path) for path in (ROOT / "stvsr_bench").rglob("*.py")))
    waiting = {name for name, users in page()["At run time"].items() if users.startswith("announced: ")}
    used = {name for name in waiting if IMPORTED_AS.get(name, name) in everywhere}
    assert used == set(), "say on the page what uses these now"


def test_everything_that_is_imported_is_a_dependency() -> None:
    names = [*project()["At run time"], *project()["Extras"]]
    declared = {IMPORTED_AS.get(name, name).replace("-", "_") for name in names}
    for path in (ROOT / "stvsr_bench").rglob("*.py"):
        foreign = imported(path) - set(sys.stdlib_module_names) - {"stvsr_bench", "__future__"}
        assert foreign <= declared, f"{path}: {sorted(foreign - declared)}"
