"""``stvsr-bench score``: one video against another, without a dataset."""

from __future__ import annotations

from pathlib import Path

import click

from stvsr_bench.cli.output import add_row, make_console, make_table, say
from stvsr_bench.core.paths import user_path


@click.command("score")
@click.argument("prediction", metavar="PRED", type=click.Path(path_type=Path))
@click.option("--gt", type=click.Path(path_type=Path), help="Ground truth: a video or a folder of frames.")
@click.option("--metrics", help="Comma-separated metric ids (default: all that apply and whose weights are here).")
@click.option("--csv", type=click.Path(path_type=Path), help="Write the value of every frame.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda:N.")
def command(prediction: Path, gt: Path | None, metrics: str | None, csv: Path | None, device: str) -> None:
    """Score PRED (a video or a folder of frames), with ground truth where --gt gives it.

    Counts and sizes must match: nothing is cut or resized.
    """
    from stvsr_bench.core.atomic import atomic_write
    from stvsr_bench.evaluation.score import ready_metrics, score_clips
    from stvsr_bench.metrics.registry import known_metrics

    console = make_console()
    ids = None if metrics is None else [name.strip() for name in metrics.split(",")]
    scores = score_clips(user_path(prediction), None if gt is None else user_path(gt), ids, device)
    table = make_table("metric", "mean", "unit", "better", "n")
    for info, result in scores:
        value = f"{result.value:.4f}" if result.value is not None else f"– ({result.reason})"
        add_row(table, [info.id, value, info.unit, "higher" if info.higher_is_better else "lower", result.n])
    console.print(table)
    if ids is None and (absent := [info.id for info in known_metrics().values() if info not in ready_metrics()]):
        say(console, f"left out, their weights are absent: {', '.join(absent)} (stvsr-bench fetch NAME, or --metrics)")
    if csv is not None:
        with atomic_write(user_path(csv)) as file:
            file.write("metric,version,frame,value\n")
            for info, result in scores:
                for index, number in zip(result.index, result.values, strict=True):
                    file.write(f"{info.id},{info.version},{index},{'' if number is None else f'{number:.6f}'}\n")
        say(console, f"wrote {csv}")
