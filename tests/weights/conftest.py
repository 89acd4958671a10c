"""Fixtures of the tests of weights: an empty cache, a folder for cards, a web server on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the helpers beside the tests

from toy_weights import Server

from stvsr_bench.weights import pypi


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights cache, empty; nothing of this machine's own configuration is seen."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("STVSR_BENCH_WEIGHTS", str(folder))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setattr(pypi, "_pip_config_list", lambda environment: "global.no-index='1'")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return folder


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on $STVSR_BENCH_PATH."""
    root = tmp_path / "cards"
    root.mkdir()
    monkeypatch.setenv("STVSR_BENCH_PATH", str(root))
    return root


@pytest.fixture
def server() -> Iterator[Server]:
    """A web server that ends with the test."""
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture
def use_index(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that sets what `pip config list` says of indexes and find-links; asking pip takes a second."""

    def use(*indexes: str, find_links: str = "") -> None:
        first = f"global.index-url={indexes[0]!r}" if indexes else "global.no-index='1'"
        listed = f"{first}\nglobal.extra-index-url={' '.join(indexes[1:])!r}\n:env:.find-links={find_links!r}\n"
        monkeypatch.setattr(pypi, "_pip_config_list", lambda environment: listed)

    return use
