"""CSV, every row in the long form, and Markdown, one table per setting."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Sequence

from stvsr_bench.report.leaderboard import Leaderboard, Row
from stvsr_bench.report.pivot import Line, Pivot, pivots

CSV_COLUMNS = (
    "dataset", "dataset_version", "protocol", "protocol_version", "method", "method_version", "settings", "seed",
    "metric", "metric_version", "unit", "better", "frames", "mean", "ci95_low", "ci95_high", "n", "expected", "rank",
    "flags", "reported", "reported_source", "reported_note", "verdict",
)  # fmt: skip
"""Columns of the CSV; reported and measured never share one."""

_BETTER = {True: "higher", False: "lower", None: ""}


def to_csv(board: Leaderboard) -> str:
    """Return every row of ``board``: values with six decimals, nothing as an empty field, lines ended by ``\\n``."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    writer.writerows(_fields(row) for row in board.rows)
    return out.getvalue()


def _fields(row: Row) -> list[str | int]:
    return [
        row.dataset, row.dataset_version, row.protocol, row.protocol_version,
        row.method, row.method_version, row.settings, row.seed,
        row.metric, row.metric_version, row.unit, _BETTER[row.higher_is_better], row.frames,
        _exact(row.mean), _exact(row.low), _exact(row.high),
        row.n, row.expected, "" if row.rank is None else row.rank, " ".join(row.flags),
        f"{row.reported.value:g}" if row.reported else "",
        row.reported.source if row.reported else "",
        row.reported.note if row.reported else "",
        row.verdict,
    ]  # fmt: skip


def _exact(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def to_markdown(board: Leaderboard, metrics: Sequence[str] | None = None) -> str:
    """Return ``board`` as GitHub Markdown: best bold, second best in italics, 95 % intervals in brackets.

    Args:
        board: the leaderboard.
        metrics: ids to show, in this order; default: all.

    Raises:
        UnknownNameError: a metric is not known.
    """
    return "\n".join(_markdown(pivot) for pivot in pivots(board, metrics)) or "No runs.\n"


def _markdown(pivot: Pivot) -> str:
    header = ["method", *(["seed"] if pivot.has_seeds else []), "clips"]
    for column in pivot.columns:
        header.append(column.title + ("" if column.frames == "all" else f", {column.frames}"))
    body = []
    for line in pivot.lines:
        name = escape_markdown(line.name) + (f" <sup>{line.marks}</sup>" if line.marks else "")
        body.append([name, *([str(line.seed)] if pivot.has_seeds else []), line.clips])
        body[-1] += [_cell(pivot, line, index) for index in range(len(pivot.columns))]
    parts = [
        f"### {escape_markdown(pivot.title)}",
        "",
        _grid([escape_markdown(h) for h in header], body, range(1, len(header))),
    ]
    for note in ["95 % bootstrap intervals over clips in brackets.", *pivot.notes()]:
        parts += ["", escape_markdown(note)]
    reported = reported_lines(pivot)
    if reported:
        head = ["method", "metric", "measured", "reported", "source", "verdict"]
        parts += ["", "Published values:", "", _grid(head, [[escape_markdown(t) for t in r] for r in reported], (2, 3))]
    return "\n".join(parts) + "\n"


def _cell(pivot: Pivot, line: Line, index: int) -> str:
    column = pivot.columns[index]
    text, place = line.text(column), pivot.place(line, column)
    marked = {1: f"**{text}**", 2: f"*{text}*", None: text}[place]
    interval = line.interval(column) if column.frames == "all" else ""
    return f"{marked} {interval}" if interval else marked


def _grid(header: Sequence[str], body: Sequence[Sequence[str]], right: Collection[int]) -> str:
    rule = ["---:" if index in right else "---" for index in range(len(header))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, rule, *body])


def reported_lines(pivot: Pivot) -> list[list[str]]:
    """Return method, metric, measured, reported, source and verdict of every cell with a published value."""
    lines = []
    for line in pivot.lines:
        for column, row in line.cells.items():
            if row.reported:
                frames = "" if row.frames == "all" else f", {row.frames}"
                published = f"{row.reported.value:.{column.facts.digits}f}"
                cell = [line.name, f"{row.metric}{frames}", line.text(column), published]
                lines.append([*cell, row.reported.source, row.verdict])
    return lines


def escape_markdown(text: str) -> str:
    """Escape what would become markup in a table cell; underscores inside words are no markup.

    >>> print(escape_markdown("a|b*c snake_case"))
    a\\|b\\*c snake_case
    """
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\|*`\[\]]|(?<!\w)_|_(?!\w))", r"\\\1", text)
