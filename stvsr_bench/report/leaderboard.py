"""The leaderboard: one row per method, setting, metric and subset of frames; equal results give equal rows."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from stvsr_bench.core.errors import ResultError
from stvsr_bench.report.contenders import Contender, contenders
from stvsr_bench.report.facts import UNKNOWN, MetricFacts, installed_facts
from stvsr_bench.report.reported import Key, Reported, read_reported, verdict
from stvsr_bench.report.results import FRAMES, Run, Score, find_runs
from stvsr_bench.report.statistics import bootstrap_interval, mean

if TYPE_CHECKING:
    import pandas

FLAGS: Mapping[str, str] = {
    "incomplete": "fewer clips than expected: not ranked",
    "failed": "at least one clip failed",
    "other": "files that are no known variant of the dataset: not ranked",
    "partial": "a part of the dataset on purpose: not ranked",
    "untrained": "untrained parameters: not ranked",
    "conflict": "runs of the same method with different results: not ranked; keep one of them",
    "mixed": "clips differ in device, torch version or code commit",
}
"""Marks of a row and what they mean; tables show their first letters."""

_NEVER_RANKED = {"incomplete", "failed", "other", "partial", "untrained", "conflict"}


@dataclass(frozen=True)
class Row:
    """One number of the leaderboard. It holds no time, date, path, device or run id.

    Attributes:
        dataset: id with variant.
        dataset_version: version of its card.
        protocol: id.
        protocol_version: its version.
        method: id.
        method_version: its version.
        settings: options that tell it from other rows of the same method, or ``""``.
        seed: the run's seed.
        metric: id.
        metric_version: its version.
        unit: of ``mean``.
        higher_is_better: direction, ``None`` where neither is.
        frames: ``all``, ``key`` or ``interpolated``.
        mean: over clips, ``None`` where no clip has a value.
        low: lower end of the 95 % bootstrap interval over clips, ``None`` below two clips.
        high: upper end.
        n: clips with a value.
        expected: clips of the complete dataset.
        rank: 1 is best; equal means share a rank; ``None`` where the row is not ranked.
        flags: keys of :data:`FLAGS`.
        reported: the published value, or ``None``.
        verdict: how measured and reported compare, or why they are not compared.
    """

    dataset: str
    dataset_version: int
    protocol: str
    protocol_version: int
    method: str
    method_version: int
    settings: str
    seed: int
    metric: str
    metric_version: int
    unit: str
    higher_is_better: bool | None
    frames: str
    mean: float | None
    low: float | None
    high: float | None
    n: int
    expected: int
    rank: int | None
    flags: tuple[str, ...]
    reported: Reported | None
    verdict: str


@dataclass(frozen=True)
class Leaderboard:
    """Rows in a fixed order, with what the tables need.

    Attributes:
        rows: sorted by dataset, protocol, metric, frames, rank and method.
        facts: the known metrics, in the order in which tables show them.
        problems: files that could not be read; their runs or clips are missing above.
    """

    rows: tuple[Row, ...]
    facts: Mapping[str, MetricFacts]
    problems: tuple[ResultError, ...] = field(default=())

    def to_frame(self) -> pandas.DataFrame:
        """Return every row as a pandas table, with the columns of the CSV and unrounded values."""
        import pandas

        records = [{**vars(row), "flags": " ".join(row.flags)} for row in self.rows]
        for record, row in zip(records, self.rows, strict=True):
            record["reported"] = None if row.reported is None else row.reported.value
            record["reported_source"] = None if row.reported is None else row.reported.source
        return pandas.DataFrame.from_records(records)

    def to_csv(self) -> str:
        """Return every row as CSV, values with six decimals."""
        from stvsr_bench.report.tables import to_csv

        return to_csv(self)

    def to_markdown(self, metrics: Sequence[str] | None = None) -> str:
        """Return one Markdown table per setting; ``metrics`` selects and orders (default: all)."""
        from stvsr_bench.report.tables import to_markdown

        return to_markdown(self, metrics)

    def to_latex(self, metrics: Sequence[str] | None = None) -> str:
        """Return one booktabs table per setting; ``metrics`` selects and orders (default: all)."""
        from stvsr_bench.report.latex import to_latex

        return to_latex(self, metrics)


def build_leaderboard(
    folders: Iterable[str | os.PathLike[str]],
    *,
    facts: Mapping[str, MetricFacts] | None = None,
    reported: Mapping[Key, Reported] | None = None,
) -> Leaderboard:
    """Find every run at or below ``folders`` and compare them.

    Args:
        folders: results folders or run folders.
        facts: metrics, in table order; default: the installed ones.
        reported: published numbers; default: the installed ``results/reported``.

    Raises:
        ResultError: a folder does not exist, or a table of published numbers is wrong. Unreadable results do not
            raise: they stand in ``problems``.
    """
    found = find_runs(folders)
    board = rank_runs(found.runs, facts=facts, reported=reported)
    return replace(board, problems=tuple(found.problems))


def rank_runs(
    runs: Iterable[Run],
    *,
    facts: Mapping[str, MetricFacts] | None = None,
    reported: Mapping[Key, Reported] | None = None,
) -> Leaderboard:
    """Compare ``runs``; arguments and errors as in :func:`build_leaderboard`."""
    facts = installed_facts() if facts is None else facts
    reported = read_reported() if reported is None else reported
    rows = [row for contender in contenders(runs) for row in _rows(contender, facts, reported)]
    groups: dict[tuple[object, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[_place(row, facts)].append(row)
    ordered = [row for place in sorted(groups) for row in _ranked(groups[place])]
    return Leaderboard(tuple(ordered), facts)


def _place(row: Row, facts: Mapping[str, MetricFacts]) -> tuple[int | str, ...]:
    """Return what rows must share to be ranked together, as the key that orders them."""
    known = list(facts)
    order = known.index(row.metric) if row.metric in facts else len(known)
    setting = (row.dataset, row.dataset_version, row.protocol, row.protocol_version)
    return (*setting, order, row.metric, row.metric_version, FRAMES.index(row.frames))


def _ranked(rows: list[Row]) -> list[Row]:
    # Six decimals, as in the CSV: what looks equal there is equal.
    keys = {
        row: round(row.mean, 6) * (-1 if row.higher_is_better else 1)
        for row in rows
        if row.mean is not None and row.higher_is_better is not None and not _NEVER_RANKED & set(row.flags)
    }
    ranked = [
        replace(row, rank=1 + sum(other < keys[row] for other in keys.values()) if row in keys else None)
        for row in rows
    ]
    return sorted(ranked, key=lambda r: (r.rank is None, r.rank or 0, r.method, r.settings, r.seed))


def _rows(contender: Contender, facts: Mapping[str, MetricFacts], reported: Mapping[Key, Reported]) -> list[Row]:
    cells = contender.cells()
    scored = {metric for metric, _ in cells}
    for metric in contender.metrics:
        if metric not in scored:
            cells[metric, facts.get(metric, UNKNOWN).version] = {}
    rows = []
    for (metric, version), scores in cells.items():
        interpolates = any(s.frames["interpolated"].n for s in scores.values() if "interpolated" in s.frames)
        for frames in FRAMES if interpolates else FRAMES[:1]:
            rows.append(_row(contender, metric, version, frames, scores, facts.get(metric, UNKNOWN), reported))
    return rows


def _row(
    contender: Contender,
    metric: str,
    version: int,
    frames: str,
    scores: Mapping[str, Score],
    facts: MetricFacts,
    reported: Mapping[Key, Reported],
) -> Row:
    setting = contender.setting
    subset = {name: score.frames[frames] for name, score in scores.items() if frames in score.frames}
    values = [value.value for value in subset.values() if value.value is not None]
    # One stream of draws per dataset: every method and metric meets the same resampled clips, so that equal values
    # have equal intervals.
    interval = bootstrap_interval(values, setting.dataset)
    without = bool(subset) and not values and all(v.reason for v in subset.values())
    flags = _flags(contender, incomplete=len(values) < contender.expected and not without)
    published = reported.get((setting.dataset, setting.protocol, contender.method, metric, frames))
    average = mean(values) if values else None
    if without:
        words = "; ".join(sorted({str(v.reason) for v in subset.values()}))
    elif average is None or _NEVER_RANKED & set(flags):
        words = _why_not(contender, flags, len(values))
    else:
        words = verdict(average, facts.shown_unit, published) if published else "no reported value"
    return Row(
        dataset=setting.dataset,
        dataset_version=setting.dataset_version,
        protocol=setting.protocol,
        protocol_version=setting.protocol_version,
        method=contender.method,
        method_version=contender.method_version,
        settings=contender.settings,
        seed=contender.seed,
        metric=metric,
        metric_version=version,
        unit=facts.unit,
        higher_is_better=facts.higher_is_better,
        frames=frames,
        mean=average,
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        n=len(values),
        expected=contender.expected,
        rank=None,
        flags=flags,
        reported=published,
        verdict=words,
    )


def _flags(contender: Contender, *, incomplete: bool) -> tuple[str, ...]:
    present = {
        "incomplete": incomplete and contender.partial is None,
        "failed": any(sample.status == "failed" for sample in contender.samples.values()),
        "other": any(run.other_variant for run in contender.runs),
        "partial": contender.partial is not None,
        "untrained": contender.untrained,
        "conflict": contender.copy > 0,
        "mixed": contender.mixed,
    }
    return tuple(flag for flag in FLAGS if present[flag])


def _why_not(contender: Contender, flags: Sequence[str], n: int) -> str:
    if "conflict" in flags:
        return "conflicting runs"
    if "partial" in flags:
        return f"partial: {contender.partial}"
    if "incomplete" in flags:
        return f"incomplete: {n} of {contender.expected} clips"
    if "other" in flags:
        return "no known variant of the dataset"
    return "untrained parameters" if "untrained" in flags else "a clip failed"
