"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

# Weights that tests need are fetched once; like everything that is kept between commands they stay inside the checkout.
os.environ.setdefault("STVSR_BENCH_WEIGHTS", str(REPOSITORY / ".weights"))
os.environ.setdefault("STVSR_BENCH_CACHE", str(REPOSITORY / ".cache"))


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


@pytest.fixture(scope="session")
def require_weights() -> Callable[..., None]:
    """A function that gets weights by id, and skips the test (fails it where they are required) when it cannot."""

    def require(*weights: str) -> None:
        from stvsr_bench.core.errors import WeightError
        from stvsr_bench.weights import service

        for weight in dict.fromkeys(weights):
            try:
                service.load_weight(weight)
            except WeightError as error:
                if os.environ.get("STVSR_BENCH_REQUIRE_WEIGHTS") == "1":
                    pytest.fail(f"{weight} is required (STVSR_BENCH_REQUIRE_WEIGHTS=1): {error}")
                pytest.skip(f"not compared, {weight} cannot be had: {error}")

    return require


@dataclass(frozen=True)
class Answer:
    """What a command gave back."""

    status: int
    out: str
    err: str


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Run a command in this process, from an empty folder."""
    from stvsr_bench.cli.app import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Answer:
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main(arguments)
        out, err = capfd.readouterr()
        return Answer(int(left.value.code or 0), out, err)

    return run
