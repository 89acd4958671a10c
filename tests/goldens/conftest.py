"""Fixtures of the golden tests: where reference values lie."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the helpers beside the tests

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def goldens() -> Path:
    """Folder of golden sets ($STVSR_BENCH_GOLDENS, by default beside the checkout); skips where it is absent."""
    given = os.environ.get("STVSR_BENCH_GOLDENS")
    folder = Path(given) if given else REPOSITORY.parent / "shared" / "goldens"
    if not folder.is_dir():
        pytest.skip(f"golden sets are absent: no folder {folder}; set STVSR_BENCH_GOLDENS")
    return folder
