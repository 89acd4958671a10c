"""Published numbers: read from ``results/reported/*.csv``, compared with measured ones, never mixed with them."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stvsr_bench.core.errors import ResultError
from stvsr_bench.core.paths import reported_dir
from stvsr_bench.report.results import FRAMES

COLUMNS = ("dataset", "protocol", "method", "metric", "frames", "value", "source", "note")

CLOSE_DB = 0.05
"""A measured value in dB that differs by no more counts as the reported one: tables print two decimals, and bicubic
kernels of different programs differ by about 0.03 dB."""
CLOSE_SHARE = 0.005
"""The same for other units, as a share of the reported value."""

Key = tuple[str, str, str, str, str]
"""Dataset with variant, protocol, method, metric, frames."""


@dataclass(frozen=True)
class Reported:
    """A published number.

    Attributes:
        value: as printed, in the metric's unit.
        source: the publication and its table.
        note: how sure we are, and what differs.
    """

    value: float
    source: str
    note: str


def read_reported(folder: str | os.PathLike[str] | None = None) -> Mapping[Key, Reported]:
    """Read every ``*.csv`` of ``folder`` (default: the installed ``results/reported``).

    Raises:
        ResultError: a file has other columns than :data:`COLUMNS`, a value is no finite number, ``source`` is empty,
            or two rows report the same cell.
    """
    rows: dict[Key, Reported] = {}
    for path in sorted(Path(folder if folder is not None else reported_dir()).glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise ResultError(
                    f"the columns of '{path}' are wrong",
                    got=", ".join(reader.fieldnames or ()) or "an empty file",
                    accepted=", ".join(COLUMNS) + ", in this order",
                    action="correct its first line",
                )
            for row in reader:
                where = f"'{path}' line {reader.line_num}"
                key, reported = _parse(row, where)
                if key in rows:
                    raise ResultError(
                        f"{where} reports {' '.join(key)} again",
                        got=f"{reported.value} from '{reported.source}' beside {rows[key].value}",
                        accepted="one row for each cell",
                        action="keep the row with the better source and name the other in its note",
                    )
                rows[key] = reported
    return rows


def _parse(row: Mapping[str, str], where: str) -> tuple[Key, Reported]:
    if None in row or None in row.values():
        raise ResultError(f"{where} has not {len(COLUMNS)} fields", action="quote fields that hold commas")
    try:
        value = float(row["value"])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ResultError(f"{where}: the value is no number", got=repr(row["value"]), accepted="a finite number")
    if row["frames"] not in FRAMES:
        raise ResultError(f"{where}: unknown frames", got=repr(row["frames"]), accepted=", ".join(FRAMES))
    if not row["source"].strip():
        raise ResultError(f"{where} names no source", accepted="the publication and its table")
    key = (row["dataset"], row["protocol"], row["method"], row["metric"], row["frames"])
    return key, Reported(value, row["source"], row["note"])


def verdict(measured: float, unit: str, reported: Reported) -> str:
    """Say in words how a measured value compares with the reported one.

    >>> verdict(23.47, "dB", Reported(23.78, "a paper", ""))
    'differs by −0.31 dB'
    >>> verdict(23.7788, "dB", Reported(23.78, "a paper", ""))
    'within 0.05 dB of reported'
    """
    difference = measured - reported.value
    # The margin absorbs binary rounding: 23.83 - 23.78 is a little more than 0.05.
    if unit == "dB":
        if abs(difference) <= CLOSE_DB + 1e-9:
            return f"within {CLOSE_DB} dB of reported"
        return f"differs by {signed(difference, 2)} dB"
    if abs(difference) <= CLOSE_SHARE * abs(reported.value) + 1e-9:
        return f"within {CLOSE_SHARE:.1%} of reported"
    return f"differs by {signed(difference, 4)}{' ' + unit if unit else ''}"


def signed(value: float, digits: int) -> str:
    """Return ``value`` with its sign, a true minus for negative ones.

    >>> signed(-0.314, 2), signed(0.3, 2)
    ('−0.31', '+0.30')
    """
    return f"{value:+.{digits}f}".replace("-", "−")
