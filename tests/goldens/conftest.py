"""Fixtures of the golden tests: where reference values lie, and whether real parameters must be there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the helpers beside the tests

from stvsr_bench.core.errors import WeightError

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def goldens() -> Path:
    """Folder of golden sets ($STVSR_BENCH_GOLDENS, by default beside the checkout); skips where it is absent."""
    given = os.environ.get("STVSR_BENCH_GOLDENS")
    folder = Path(given) if given else REPOSITORY.parent / "shared" / "goldens"
    if not folder.is_dir():
        pytest.skip(f"golden sets are absent: no folder {folder}; set STVSR_BENCH_GOLDENS")
    return folder


@pytest.fixture(scope="session")
def require_weights() -> Callable[..., None]:
    """A function that gets weights by id, and skips the test (fails it where they are required) when it cannot."""

    def require(*weights: str) -> None:
        from stvsr_bench.weights.service import load_weight

        for weight in weights:
            try:
                load_weight(weight)
            except WeightError as error:
                if os.environ.get("STVSR_BENCH_REQUIRE_WEIGHTS") == "1":
                    pytest.fail(f"{weight} is required (STVSR_BENCH_REQUIRE_WEIGHTS=1): {error}")
                pytest.skip(f"not compared, {weight} cannot be had: {error}")

    return require
