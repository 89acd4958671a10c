"""The regression gate's memory and judgement: golden values of a suite, and what differs from them."""

from __future__ import annotations

import fnmatch
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from stvsr_bench.core.atomic import atomic_write, read_json
from stvsr_bench.core.errors import ConfigError, ResultError
from stvsr_bench.report.contenders import contenders
from stvsr_bench.report.results import Run

GOLDEN_VERSION = 1
DEFAULT_TOLERANCES: Mapping[str, float] = {"psnr_*": 0.005, "ssim_*": 5e-5, "*": 1e-6}
"""Largest absolute change by pattern of metric id, the first that fits: what other CPUs and library builds may move."""


class GoldenKey(NamedTuple):
    """What one golden value is the value of."""

    method: str
    dataset: str
    protocol: str
    metric: str
    frames: str
    sample: str


Values = Mapping[GoldenKey, float | None]
"""Values by key; ``None`` is a value too: «there is none» must not change unnoticed either."""


@dataclass(frozen=True)
class Golden:
    """The content of a golden file.

    Attributes:
        suite: what was run, in words.
        tolerances: largest absolute change by pattern of metric id; the first pattern that fits counts.
        values: the golden values. Dataset, protocol and metric carry their versions, ``psnr_rgb@1``.
        history: why the values were set, oldest first: ``(date, reason)``.
    """

    suite: str
    tolerances: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_TOLERANCES))
    values: Values = field(default_factory=dict)
    history: tuple[tuple[str, str], ...] = ()

    def tolerance(self, metric: str) -> float:
        """Return the largest change of ``metric`` (with or without version) that passes; 0 if no pattern fits."""
        name = metric.partition("@")[0]
        return next((t for pattern, t in self.tolerances.items() if fnmatch.fnmatchcase(name, pattern)), 0.0)


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it was.

    Attributes:
        key: what differs.
        kind: ``changed``, ``missing`` (golden, but not in this run) or ``new``.
        golden: the golden value.
        current: the value now.
        tolerance: the largest change that would have passed.
    """

    key: GoldenKey
    kind: str
    golden: float | None
    current: float | None
    tolerance: float

    def __str__(self) -> str:
        where = " ".join(self.key)
        if self.kind != "changed":
            return f"{self.kind}: {where}"
        if self.golden is None or self.current is None:
            return f"changed: {where}: {self.golden} → {self.current}"
        change = self.current - self.golden
        return f"changed: {where}: {self.golden:.6f} → {self.current:.6f} ({change:+.2g}, tolerance {self.tolerance:g})"


def current_values(runs: Iterable[Run]) -> dict[GoldenKey, float | None]:
    """Return the values of ``runs`` as golden ones are keyed.

    Raises:
        ResultError: runs of the same method disagree or differ in options, so that a key would mean two things.
    """
    values: dict[GoldenKey, float | None] = {}
    for contender in contenders(runs):
        if contender.settings:
            raise ResultError(
                f"the suite ran '{contender.method}' in more than one way",
                got=contender.settings,
                accepted="one run for each method, dataset and protocol",
                action="use an empty results folder",
            )
        setting = contender.setting
        for (metric, version), scores in contender.cells().items():
            for sample, score in scores.items():
                for frames, value in score.frames.items():
                    key = GoldenKey(
                        contender.method,
                        f"{setting.dataset}@{setting.dataset_version}",
                        f"{setting.protocol}@{setting.protocol_version}",
                        f"{metric}@{version}",
                        frames,
                        sample,
                    )
                    values[key] = value.value
    return values


def compare(golden: Golden, current: Values) -> list[Difference]:
    """Return everything in which ``current`` is not as ``golden`` says, sorted by key; better is a change too."""
    differences = []
    for key in sorted({*golden.values, *current}):
        tolerance = golden.tolerance(key.metric)
        old, new = golden.values.get(key), current.get(key)
        if key not in current:
            kind = "missing"
        elif key not in golden.values:
            kind = "new"
        elif old == new or (old is not None and new is not None and abs(new - old) <= tolerance):
            continue
        else:
            kind = "changed"
        differences.append(Difference(key, kind, old, new, tolerance))
    return differences


def update(golden: Golden, current: Values, reason: str, date: str) -> Golden:
    """Return ``golden`` with ``current``'s values, and the reason in its history; unchanged where nothing differs.

    Args:
        golden: what to update; for a new file ``Golden(suite="…")``.
        current: the new values.
        reason: why they changed.
        date: when, ISO 8601.

    Raises:
        ConfigError: ``reason`` is empty.
        ResultError: ``current`` is empty.
    """
    if not reason.strip():
        raise ConfigError(
            "golden values change only for a reason",
            got="an empty reason",
            accepted="a sentence that a reviewer can judge",
            action='give one: --update "bicubic rounds once per pass since version 2"',
        )
    if not current:
        raise ResultError("the suite produced no values", action="look at its output: golden values are unchanged")
    if not compare(golden, current):
        return golden
    return replace(golden, values=dict(current), history=(*golden.history, (date, reason.strip())))


def read_golden(path: str | os.PathLike[str]) -> Golden:
    """Read a golden file.

    Raises:
        ResultError: it is absent, damaged, or of a newer schema.
    """
    path = Path(path)
    if not path.is_file():
        raise ResultError(
            f"no golden file '{path}'", action='make it: `stvsr-bench check --update "first golden values"`'
        )
    content = read_json(path)
    try:
        version = int(content["schema_version"])
        if version <= GOLDEN_VERSION:
            return _golden(content)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ResultError(
            f"'{path}' is not a golden file", got=f"{type(error).__name__}: {error}", action="restore it from git"
        ) from error
    raise ResultError(
        f"'{path}' was written by a newer stvsr-bench",
        got=f"schema version {version}",
        accepted=f"up to {GOLDEN_VERSION}",
        action="upgrade: pip install --upgrade stvsr-bench",
    )


def _golden(content: Mapping[str, Any]) -> Golden:
    values: dict[GoldenKey, float | None] = {}
    for row in content["rows"]:
        for sample, value in row["values"].items():
            key = GoldenKey(**{name: str(row[name]) for name in GoldenKey._fields[:-1]}, sample=str(sample))
            values[key] = None if value is None else float(value)
    return Golden(
        suite=str(content["suite"]),
        tolerances={str(k): float(v) for k, v in content["tolerances"].items()},
        values=values,
        history=tuple((str(entry["date"]), str(entry["reason"])) for entry in content["history"]),
    )


def write_golden(path: str | os.PathLike[str], golden: Golden) -> None:
    """Write ``golden`` atomically, one line per row, so that version control shows what moved."""
    rows: dict[tuple[str, ...], dict[str, float | None]] = {}
    for key in sorted(golden.values):
        rows.setdefault(key[:-1], {})[key.sample] = golden.values[key]
    head = {
        "schema_version": GOLDEN_VERSION,
        "suite": golden.suite,
        "tolerances": dict(golden.tolerances),
        "history": [{"date": date, "reason": reason} for date, reason in golden.history],
    }
    lines = [
        json.dumps({**dict(zip(GoldenKey._fields, row, strict=False)), "values": values}, **_STRICT)
        for row, values in rows.items()
    ]
    text = json.dumps(head, indent=1, **_STRICT).removesuffix("\n}")
    with atomic_write(path) as file:
        file.write(text + ',\n "rows": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n")


_STRICT: dict[str, Any] = {"ensure_ascii": False, "allow_nan": False}
