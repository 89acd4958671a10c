"""What a result depends on besides its inputs: code commit, packages, machine; gathered without importing them."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import subprocess
from pathlib import Path

import stvsr_bench
from stvsr_bench.core.paths import PACKAGE

PACKAGES = ("torch", "torchvision", "numpy", "opencv-python-headless", "av", "decord", "kornia", "scikit-image")


@functools.cache
def package_versions() -> dict[str, str]:
    """Return the versions of the packages that can move a number; an absent one is left out."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def code_state() -> dict[str, str | bool | None]:
    """Return version, git commit and dirty flag of this code; commit and flag are ``None`` outside a checkout."""
    commit: str | None = None
    dirty: bool | None = None
    root = PACKAGE.parent
    if (root / ".git").exists():
        commit = _git(root, "rev-parse", "HEAD")
        status = _git(root, "status", "--porcelain", "--", "stvsr_bench", "methods", "datasets", "conf")
        dirty = None if status is None else bool(status)
    return {"version": stvsr_bench.__version__, "commit": commit, "dirty": dirty}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def machine() -> dict[str, str]:
    """Return the processor architecture, operating system and Python version."""
    return {"machine": platform.machine(), "system": platform.system(), "python": platform.python_version()}
