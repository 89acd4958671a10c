"""``stvsr-bench restore``: one video in, one video out."""

from __future__ import annotations

from pathlib import Path

import click

from stvsr_bench.cli.output import make_console, say


@click.command("restore", context_settings={"ignore_unknown_options": False})
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, type=click.UNPROCESSED)
@click.option("--frames", metavar="A:B", help="Only frames A to B-1 of the input.")
@click.option("--crop", metavar="WxH+X+Y", help="Only this part of every input frame.")
def command(source: Path, output: Path, overrides: tuple[str, ...], frames: str | None, crop: str | None) -> None:
    """Restore INPUT (a video or a folder of frames) and write OUTPUT.

    OUTPUT is a folder (PNG frames), .mkv (lossless FFV1) or .mp4 (for looking at). OVERRIDES choose the method, its
    knobs, device, dtype and seed as in `run`:

    \b
    stvsr-bench restore in.mp4 out.mkv method=bicubic_dis_flow method.scale=4 method.time_scale=2
    stvsr-bench restore in.mp4 out.mp4 --frames 0:9 method=dis_flow method.time_scale=4
    """
    from stvsr_bench.evaluation.progress import RunProgress
    from stvsr_bench.evaluation.restore import restore_from_config

    console = make_console()
    with RunProgress(console, 1) as progress:
        path, report, size = restore_from_config(
            source, output, overrides, frames=frames, crop=crop, progress=progress.step, console=console
        )
    for note in report.notes:
        say(console, f"note: {note}")
    for stage in report.stages:
        say(console, f"{stage.name}: {stage.seconds:.2f} s for {stage.frames} frames")
    say(console, f"wrote {path}: {size}")
