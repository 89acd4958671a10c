"""How commands write to the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

PIPE_WIDTH = 200  # a pipe has no width; tables must not be cut at 80 columns there


def make_console() -> Console:
    """Return the console of standard output; into a pipe or file tables get room."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


def make_table(*columns: str) -> Table:
    """Return a plain table that reads well and pastes well."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def add_row(table: Table, cells: Sequence[object]) -> None:
    """Add a row of texts that are shown as they are."""
    table.add_row(*(escape("–" if cell is None else str(cell)) for cell in cells))


def say(console: Console, text: str) -> None:
    """Print a line as it is: no markup, no colours, not wrapped."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
