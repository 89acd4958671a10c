"""The leaderboard turned for reading: one table per setting, methods down, metrics across."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stvsr_bench.core.errors import UnknownNameError
from stvsr_bench.report.contenders import Setting
from stvsr_bench.report.facts import UNKNOWN, MetricFacts
from stvsr_bench.report.leaderboard import FLAGS, Leaderboard, Row
from stvsr_bench.report.results import FRAMES

NOTHING = "–"
"""What a cell without a value shows."""


@dataclass(frozen=True)
class Column:
    """One metric over one subset of frames."""

    metric: str
    version: int
    frames: str
    facts: MetricFacts

    @property
    def name(self) -> str:
        """The metric's id, with its version when that is not the first."""
        return f"{self.metric}@{self.version}" if self.version > 1 else self.metric

    @property
    def title(self) -> str:
        """Name, direction and unit."""
        return f"{self.name} {self.facts.heading}".rstrip()


@dataclass
class Line:
    """One contender: its name, and its row for every column that it has."""

    method: str
    settings: str
    seed: int
    cells: dict[Column, Row] = field(default_factory=dict)

    @property
    def marks(self) -> str:
        """First letters of the flags that any cell has."""
        flags = {flag for row in self.cells.values() for flag in row.flags}
        return ",".join(letter(flag) for flag in FLAGS if flag in flags)

    @property
    def name(self) -> str:
        """Method and the settings that tell it apart."""
        return f"{self.method} ({self.settings})" if self.settings else self.method

    @property
    def clips(self) -> str:
        """The largest n of expected n among the cells."""
        most = max(self.cells.values(), key=lambda row: row.n)
        return f"{most.n}/{most.expected}"

    def text(self, column: Column) -> str:
        """The mean in the column's digits, with n of expected n where that is not the line's."""
        row = self.cells.get(column)
        if row is None or row.mean is None:
            return NOTHING
        count = f"{row.n}/{row.expected}"
        return f"{row.mean:.{column.facts.digits}f}" + (f" ({count})" if count != self.clips else "")

    def interval(self, column: Column) -> str:
        """The 95 % interval as ``[low, high]``, or ``""``."""
        row = self.cells.get(column)
        if row is None or row.low is None or row.high is None:
            return ""
        return f"[{row.low:.{column.facts.digits}f}, {row.high:.{column.facts.digits}f}]"


@dataclass
class Pivot:
    """One setting's table.

    Attributes:
        setting: dataset and protocol.
        columns: those with at least one value.
        lines: contenders, the best of the first column first.
        empty: why the other metrics have no value at all, by metric id.
    """

    setting: Setting
    columns: list[Column]
    lines: list[Line]
    empty: dict[str, str]

    @property
    def title(self) -> str:
        """Dataset, protocol and its version."""
        dataset = self.setting.dataset
        if self.setting.dataset_version > 1:
            dataset += f" (version {self.setting.dataset_version})"
        return f"{dataset} · {self.setting.protocol} (version {self.setting.protocol_version})"

    @property
    def has_seeds(self) -> bool:
        """Whether the lines have more than one seed."""
        return len({line.seed for line in self.lines}) > 1

    def place(self, line: Line, column: Column) -> int | None:
        """1 for the best and 2 for the second best of at least two ranked lines, otherwise ``None``."""
        ranks = [row.rank for other in self.lines if (row := other.cells.get(column)) and row.rank is not None]
        row = line.cells.get(column)
        return row.rank if row and len(ranks) > 1 and row.rank in (1, 2) else None

    def notes(self) -> list[str]:
        """What the marks of the lines mean, and why metrics are absent."""
        marks = {mark for line in self.lines for mark in line.marks.split(",")}
        notes = [f"{letter(flag)}: {meaning}" for flag, meaning in FLAGS.items() if letter(flag) in marks]
        return notes + [f"{metric}: {why}" for metric, why in self.empty.items()]


def letter(flag: str) -> str:
    """Return the mark of a flag: the first letter, for example ``u`` for untrained."""
    return flag[0]


def pivots(board: Leaderboard, metrics: Sequence[str] | None = None, frames: Sequence[str] = FRAMES) -> list[Pivot]:
    """Turn ``board`` into one table per setting.

    Args:
        board: the leaderboard.
        metrics: ids to show, in this order; default: all, in the leaderboard's order.
        frames: subsets of frames to show.

    Raises:
        UnknownNameError: no row has one of ``metrics`` and no such metric is known.
    """
    present = list(dict.fromkeys(row.metric for row in board.rows))
    for metric in metrics or ():
        if metric not in present and metric not in board.facts:
            raise UnknownNameError("metric", metric, {*present, *board.facts})
    rows = [row for row in board.rows if row.frames in frames and (metrics is None or row.metric in metrics)]
    if metrics is not None:
        rows.sort(key=lambda row: list(metrics).index(row.metric))
    by_setting: dict[Setting, list[Row]] = {}
    for row in rows:
        by_setting.setdefault(_setting(row), []).append(row)
    return [_pivot(setting, by_setting[setting], board.facts) for setting in sorted(by_setting)]


def _setting(row: Row) -> Setting:
    return Setting(row.dataset, row.dataset_version, row.protocol, row.protocol_version)


def _pivot(setting: Setting, rows: Sequence[Row], facts: Mapping[str, MetricFacts]) -> Pivot:
    columns: list[Column] = []
    lines: dict[tuple[str, str, int], Line] = {}
    for row in rows:
        column = Column(row.metric, row.metric_version, row.frames, facts.get(row.metric, UNKNOWN))
        if column not in columns:
            columns.append(column)
        line = lines.setdefault((row.method, row.settings, row.seed), Line(row.method, row.settings, row.seed))
        line.cells[column] = row
    full = [c for c in columns if any(c in line.cells and line.cells[c].mean is not None for line in lines.values())]
    shown = {column.metric for column in full}
    empty = {row.metric: row.verdict for row in reversed(rows) if row.metric not in shown}
    return Pivot(
        setting, full, sorted(lines.values(), key=lambda line: _order(line, full)), dict(sorted(empty.items()))
    )


def _order(line: Line, columns: Sequence[Column]) -> tuple[object, ...]:
    row = line.cells.get(columns[0]) if columns else None
    rank = row.rank if row else None
    return (rank is None, rank or 0, line.method, line.settings, line.seed)
