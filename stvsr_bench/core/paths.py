"""Where things lie: one module that finds the shared folders in a wheel and in a checkout alike."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from stvsr_bench.core.errors import ConfigError

PACKAGE = Path(__file__).resolve().parents[1]
SEARCH_VARIABLE = "STVSR_BENCH_PATH"
DATA_VARIABLE = "STVSR_BENCH_DATA"
WEIGHTS_VARIABLE = "STVSR_BENCH_WEIGHTS"
CACHE_VARIABLE = "STVSR_BENCH_CACHE"


def share_dir() -> Path:
    """Return the folder that holds ``methods/``, ``datasets/``, ``conf/`` and ``results/``.

    It is ``stvsr_bench/_share`` in an installed wheel and the repository root in a checkout.

    Raises:
        ConfigError: neither exists, so the installation is damaged.
    """
    for folder in (PACKAGE / "_share", PACKAGE.parent):
        if (folder / "conf" / "config.yaml").is_file():
            return folder
    raise ConfigError(
        "the installation is damaged: its configuration folder is missing",
        got=f"no conf/config.yaml in {PACKAGE / '_share'} or {PACKAGE.parent}",
        action="install again: pip install --force-reinstall stvsr-bench",
    )


def search_roots() -> list[Path]:
    """Return the folders scanned for ``methods/*/`` and ``datasets/*/``: the installation, then $STVSR_BENCH_PATH."""
    roots = [share_dir()]
    for part in os.environ.get(SEARCH_VARIABLE, "").split(os.pathsep):
        if part:
            root = Path(part).expanduser()
            if not root.is_dir():
                raise ConfigError(
                    f"${SEARCH_VARIABLE} names a folder that does not exist",
                    got=f"'{part}'",
                    accepted=f"existing folders that hold methods/ or datasets/, separated by '{os.pathsep}'",
                    action=f"create it or correct ${SEARCH_VARIABLE}",
                )
            roots.append(root.resolve())
    return roots


def conf_dir() -> Path:
    """Return the folder of Hydra configs."""
    return share_dir() / "conf"


def golden_dir() -> Path:
    """Return the folder of regression baselines."""
    return share_dir() / "results" / "golden"


def reported_dir() -> Path:
    """Return the folder of published tables."""
    return share_dir() / "results" / "reported"


def data_root() -> Path:
    """Return the folder under which datasets lie: $STVSR_BENCH_DATA, by default ``data`` below the caller's folder."""
    return Path(os.environ.get(DATA_VARIABLE) or "data").expanduser().absolute()


def dataset_folder(name: str, aliases: Iterable[str] = ()) -> Path:
    """Return the folder of the data root whose name is ``name`` or an alias, in any case; it need not exist."""
    names = {known.lower() for known in (name, *aliases)}
    parent = data_root()
    try:
        for folder in sorted(parent.iterdir()):
            if folder.name.lower() in names and folder.is_dir():
                return folder
    except OSError:  # what cannot be listed is absent, and the caller says so
        pass
    return parent / name


def user_path(text: str | os.PathLike[str]) -> Path:
    """Return the absolute path of what a user typed: ``~`` expanded, relative to the caller's folder."""
    return Path(os.path.abspath(os.path.expanduser(os.fspath(text))))


def cache_dir() -> Path:
    """Return the folder of what can be computed again: $STVSR_BENCH_CACHE, by default below the user's cache folder."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return user_path(given)
    return user_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "stvsr_bench"
