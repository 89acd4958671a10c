"""``stvsr-bench strips``: pictures of finished runs side by side."""

from __future__ import annotations

from pathlib import Path

import click

from stvsr_bench.cli.output import make_console, say
from stvsr_bench.core.paths import user_path


@click.command("strips")
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), default=Path("strips"), show_default=True)
def command(folders: tuple[Path, ...], output: Path) -> None:
    """Draw one comparison strip per clip of the runs below FOLDERS (default results/runs).

    Columns: GT, LQ and every method; rows: a key frame and an interpolated one, each with a zoomed crop.
    """
    from stvsr_bench.evaluation.strips import write_strips

    console = make_console()
    for path in write_strips([user_path(f) for f in folders] or [user_path("results/runs")], user_path(output)):
        say(console, f"wrote {path}")
