"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

# Weights that tests need are fetched once and stay inside the checkout.
os.environ.setdefault("STVSR_BENCH_WEIGHTS", str(REPOSITORY / ".weights"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root folder."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real clips for tests; skips where it is absent."""
    given = os.environ.get("STVSR_BENCH_TEST_DATA")
    folder = Path(given) if given else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real clips are absent: no folder {folder}; set STVSR_BENCH_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def shared_reported(shared_data: Path) -> Path:
    """Folder of reported numbers and check values that lies beside the real clips."""
    folder = shared_data.parent / "reported"
    if not folder.is_dir():
        pytest.skip(f"check values are absent: no folder {folder}")
    return folder
