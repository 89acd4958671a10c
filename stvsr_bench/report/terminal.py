"""The leaderboard on a terminal, fitted to its width."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stvsr_bench.report.leaderboard import Leaderboard
from stvsr_bench.report.pivot import Pivot, pivots
from stvsr_bench.report.results import FRAMES
from stvsr_bench.report.tables import reported_lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

DEFAULT_METRICS = ("psnr_y_crop4", "ssim_y_crop4")
"""Shown unless the user chooses, together with the first metric that needs no ground truth."""

MOST = 3
"""Metrics that are all shown without choosing."""


def default_metrics(board: Leaderboard) -> list[str]:
    """Return the metrics that a terminal shows: all up to :data:`MOST`, otherwise PSNR, SSIM, one without GT."""
    present = list(dict.fromkeys(row.metric for row in board.rows))
    if len(present) <= MOST:
        return present
    chosen = [metric for metric in DEFAULT_METRICS if metric in present]
    chosen += [m for m in present if m in board.facts and not board.facts[m].needs_gt][:1]
    return chosen or present[:MOST]


def print_leaderboard(board: Leaderboard, console: Console, metrics: Sequence[str] | None = None) -> None:
    """Print ``board`` to ``console``: one table per setting, split by frames where it is too wide.

    Args:
        board: the leaderboard.
        console: a rich console.
        metrics: ids to show, in this order; default: :func:`default_metrics`.

    Raises:
        UnknownNameError: a metric is not known.
    """
    from rich.text import Text

    if not board.rows:
        console.print(Text("No runs found."))
    present = list(dict.fromkeys(row.metric for row in board.rows))
    shown = list(metrics) if metrics else default_metrics(board)
    for pivot in pivots(board, shown):
        for title, table in _fitting(board, pivot, shown, console):
            console.print(Text(title, style="bold"))
            console.print(table)
        for note in pivot.notes():
            console.print(Text(note, style="dim"))
        for method, metric, measured, reported, source, verdict in reported_lines(pivot):
            console.print(Text(f"{method} {metric}: measured {measured}, reported {reported} ({source}): {verdict}"))
        console.print()
    hidden = [metric for metric in present if metric not in shown]
    if hidden:
        text = f"{len(present) - len(hidden)} of {len(present)} metrics shown; the others: --metrics all"
        console.print(Text(text, style="dim"))
    for problem in board.problems:
        console.print(Text(f"not read: {problem}", style="yellow"))


def _fitting(board: Leaderboard, pivot: Pivot, metrics: Sequence[str], console: Console) -> list[tuple[str, Table]]:
    """Return title and table: one with all frames, or one for each subset where that is wider than the console."""
    from rich.measure import Measurement

    whole = _table(pivot)
    if Measurement.get(console, console.options.update(max_width=10_000), whole).maximum <= console.width:
        return [(pivot.title, whole)]
    parts = [
        (f"{part.title} · {frames} frames", _table(part))
        for frames in FRAMES
        for part in pivots(board, metrics, [frames])
        if part.setting == pivot.setting and part.columns
    ]
    return parts or [(pivot.title, whole)]


def _table(pivot: Pivot) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("method", overflow="fold", vertical="bottom")
    if pivot.has_seeds:
        table.add_column("seed", justify="right", no_wrap=True, vertical="bottom")
    table.add_column("clips", justify="right", no_wrap=True, vertical="bottom")
    previous = ""
    for column in pivot.columns:
        lines = [*folded(column.name), column.facts.heading] if column.name != previous else []
        header = Text("\n".join([*lines, _SHORT[column.frames]]))
        table.add_column(header, justify="right", no_wrap=True, vertical="bottom")
        previous = column.name
    for line in pivot.lines:
        cells = [Text(line.name + (f" [{line.marks}]" if line.marks else ""))]
        cells += [Text(str(line.seed))] if pivot.has_seeds else []
        cells.append(Text(line.clips))
        for column in pivot.columns:
            style = {1: "bold green", 2: "underline", None: ""}[pivot.place(line, column)]
            cells.append(Text(line.text(column), style=style))
        table.add_row(*cells)
    return table


_SHORT = {"all": "all", "key": "key", "interpolated": "interp."}


def folded(name: str, width: int = 14) -> list[str]:
    """Return ``name`` in lines of about ``width`` characters, broken after underscores.

    >>> folded("vbench_temporal_flickering")
    ['vbench_', 'temporal_', 'flickering']
    """
    lines = [""]
    for part in re.findall(r"[^_]+_*|_+", name):
        if lines[-1] and len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return lines
