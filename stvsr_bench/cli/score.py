"""``stvsr-bench score``: clips against their ground truth, without a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stvsr_bench.cli.output import add_row, make_console, make_table, say
from stvsr_bench.core.paths import user_path

if TYPE_CHECKING:
    from rich.console import Console

    from stvsr_bench.evaluation.score import Scores


@click.command("score")
@click.argument("prediction", metavar="PRED", type=click.Path(path_type=Path))
@click.option("--gt", type=click.Path(path_type=Path), help="Ground truth in the same form as PRED.")
@click.option(
    "--metrics", help="Comma-separated metric ids, or the name of a group (default: all that apply and can run here)."
)
@click.option(
    "--time-scale",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="φt of the restoration: shows key and interpolated frames apart.",
)
@click.option("--csv", type=click.Path(path_type=Path), help="Write the value of every frame.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda:N.")
def command(
    prediction: Path, gt: Path | None, metrics: str | None, time_scale: int, csv: Path | None, device: str
) -> int:
    """Score PRED, with ground truth where --gt gives it.

    PRED is a video, a folder of frames, or a folder of such clips; clips of two folders are paired by name. Counts and
    sizes must match: nothing is cut or resized.

    \b
    stvsr-bench score outputs/walk --gt Vid4/walk/hr --metrics psnr_y_crop4,lpips
    stvsr-bench score outputs --gt Vid4 --metrics fast --time-scale 2 --csv values.csv
    """
    from stvsr_bench.evaluation.score import evaluate

    console = make_console()
    scores = evaluate(
        user_path(prediction),
        None if gt is None else user_path(gt),
        metrics,
        time_scale=time_scale,
        device=device,
        progress=(lambda name: say(console, f"scoring {name}")) if console.is_terminal else None,
    )
    _print(scores, console)
    if csv is not None:
        scores.to_csv(csv)
        say(console, f"wrote {csv}")
    return 1 if scores.errors else 0


def _print(scores: Scores, console: Console) -> None:
    apart = ("key", "interpolated") if scores.time_scale > 1 else ()
    several = list(scores.clips) if len(scores.clips) > 1 else []
    table = make_table("metric", "mean", *apart, "unit", "better", "n", *several)
    for info in scores.metrics:
        results = {clip: found[info.id] for clip, found in scores.clips.items() if info.id in found}
        if not results:
            continue
        mean = scores.mean(info.id)
        shown = [_value(scores.mean(info.id, frames).value) for frames in apart]
        n = mean.n if several else next(iter(results.values())).n
        better = "higher" if info.higher_is_better else "lower"
        value = _value(mean.value) if mean.value is not None else f"– ({mean.reason})"
        each = [_value(results[clip].value) if clip in results else None for clip in several]
        add_row(table, [info.id, value, *shown, info.unit, better, n, *each])
    console.print(table)
    if several:
        say(console, "mean over clips; n counts clips")
    for what, error in scores.errors.items():
        say(console, f"failed: {what}: {error}")
    if scores.left_out:
        reasons = dict.fromkeys(scores.left_out.values())
        say(console, "left out: " + "; ".join(reasons))


def _value(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"
