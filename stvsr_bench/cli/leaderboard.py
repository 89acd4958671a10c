"""``stvsr-bench leaderboard``: every run below some folders, compared."""

from __future__ import annotations

from pathlib import Path

import click

from stvsr_bench.cli.output import make_console, say
from stvsr_bench.core.paths import user_path


@click.command("leaderboard")
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path))
@click.option("--csv", type=click.Path(path_type=Path), help="Write every row, one line each.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write one Markdown table per setting.")
@click.option("--latex", type=click.Path(path_type=Path), help="Write booktabs tables; best bold, second underlined.")
@click.option(
    "--metrics",
    metavar="ID,…|all",
    help="Metrics of the printed, Markdown and LaTeX tables (default: PSNR and SSIM of Y, and one without GT).",
)
@click.option("--timing", is_flag=True, help="Print time and memory per stage instead.")
def command(
    folders: tuple[Path, ...],
    csv: Path | None,
    markdown: Path | None,
    latex: Path | None,
    metrics: str | None,
    timing: bool,
) -> int:
    """Print and export the leaderboard of every run below FOLDERS (default results/runs).

    Only complete runs are ranked; a mean over fewer clips than the dataset has is shown as incomplete.
    """
    from stvsr_bench.core.atomic import atomic_write
    from stvsr_bench.metrics.registry import metric_info
    from stvsr_bench.report.leaderboard import build_leaderboard
    from stvsr_bench.report.terminal import default_metrics, print_leaderboard

    console = make_console()
    roots = [user_path(folder) for folder in folders] or [user_path("results/runs")]
    if timing:
        from stvsr_bench.report.timing import print_timing

        return 1 if print_timing(roots, console).problems else 0
    board = build_leaderboard(roots)
    if metrics is None:
        chosen = default_metrics(board)
    elif metrics == "all":
        chosen = list(dict.fromkeys(row.metric for row in board.rows))
    else:
        chosen = [metric_info(name.strip()).id for name in metrics.split(",")]
    print_leaderboard(board, console, chosen)
    for path, text in (
        (csv, board.to_csv),
        (markdown, lambda: board.to_markdown(chosen)),
        (latex, lambda: board.to_latex(chosen)),
    ):
        if path is not None:
            with atomic_write(user_path(path)) as file:
                file.write(text())
            say(console, f"wrote {path}")
    return 1 if board.problems else 0
