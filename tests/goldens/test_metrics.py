"""The metric suite against its golden set: every value of ``expected.json``, whatever clips the set holds."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from golden_fidelity import CLAIMS as FIDELITY
from golden_perceptual import CLAIMS as PERCEPTUAL
from golden_temporal import CLAIMS as TEMPORAL
from golden_video import CLAIMS as VIDEO
from metric_claims import DESCRIPTIVE, Claim, Golden, compare, leaves, nodes

_GIVEN = os.environ.get("STVSR_BENCH_GOLDENS")
FOLDER = (Path(_GIVEN) if _GIVEN else Path(__file__).resolve().parents[3] / "shared" / "goldens") / "metrics"
GOLDEN = Golden(FOLDER)
CLAIMS = [*FIDELITY, *PERCEPTUAL, *TEMPORAL, *VIDEO]
COMPARED: dict[str, tuple[int, float]] = {}
"""Values compared and the largest difference, by path."""


def _cases() -> list[tuple[str, Claim, re.Match[str]]]:
    found = []
    for path, _ in nodes(GOLDEN.expected) if FOLDER.is_dir() else ():
        where = "/".join(path)
        found += [(where, claim, match) for claim in CLAIMS if (match := re.fullmatch(claim.pattern, where))]
    return found


CASES = _cases()


def _at(where: str) -> object:
    return next(value for path, value in nodes(GOLDEN.expected) if "/".join(path) == where)


@pytest.mark.parametrize(("where", "claim", "match"), CASES, ids=[where for where, _, _ in CASES])
def test_case(where: str, claim: Claim, match: re.Match[str], goldens: Path) -> None:
    """Every value at one place of the file."""
    del goldens
    COMPARED[where] = compare(claim, _at(where), claim.compute(GOLDEN, match), where)


def test_every_value_is_claimed_once(goldens: Path) -> None:
    """No value of the file is left out, and none is claimed by two."""
    del goldens
    claimed = [where for where, _, _ in CASES]
    for path, _ in leaves(GOLDEN.expected):
        place = "/".join(path)
        owners = [where for where in claimed if place == where or place.startswith(f"{where}/")]
        if DESCRIPTIVE.fullmatch(place):
            continue
        assert len(owners) == 1, f"{place} is claimed by {owners or 'none'}"


def test_count(goldens: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was compared is what the file holds."""
    del goldens
    missing = [where for where, _, _ in CASES if where not in COMPARED]
    total = sum(count for count, _ in COMPARED.values())
    with capsys.disabled():
        print(f"\nmetrics: {total} values at {len(COMPARED)} places compared; not run: {', '.join(missing) or 'none'}")
    wanted = [
        place
        for path, _ in leaves(GOLDEN.expected)
        if not DESCRIPTIVE.fullmatch(place := "/".join(path))
        and any(place == where or place.startswith(f"{where}/") for where in COMPARED)
    ]
    assert total == len(wanted)
