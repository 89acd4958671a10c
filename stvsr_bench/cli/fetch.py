"""``stvsr-bench fetch``: get weights ahead of time."""

from __future__ import annotations

from pathlib import Path

import click

from stvsr_bench.cli.output import add_row, make_console, make_table, say
from stvsr_bench.core.paths import user_path


@click.command("fetch")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option(
    "--from",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Take the files from DIR and from nowhere else: distributions or bare files carried over by hand.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be fetched; fetch nothing.")
def command(names: tuple[str, ...], folder: Path | None, dry_run: bool) -> int:
    """Fetch the weights of methods and metrics, or single weights by their ids, into the cache.

    NAME is a method, a metric, a weight (`stvsr-bench list weights`), or all.

    \b
    stvsr-bench fetch basicvsr_rife lpips_alex_v0.1
    stvsr-bench fetch all --dry-run
    stvsr-bench fetch rife/4.0 --from ~/carried
    \b
    Exit status: 0 everything is present, 1 something cannot be had, 2 user error.
    """
    from stvsr_bench.evaluation.weights import fetch, weights_named

    console = make_console()
    ids: list[str] = []
    for name in names:
        found = weights_named(name)
        if not found:
            say(console, f"{name} needs no weights")
        ids += found
    ids = list(dict.fromkeys(ids))
    if dry_run:
        print_weights(ids)
        return 0
    faults = fetch(ids, console, folder=None if folder is None else user_path(folder))
    if faults:
        say(console, f"{len(faults)} of {len(ids)} weights cannot be had: {', '.join(faults)}")
    return 1 if faults else 0


def print_weights(ids: list[str]) -> None:
    """Print a table of weights: state, size, licence, channels."""
    from stvsr_bench.weights.known import bytes_text, weight_spec
    from stvsr_bench.weights.service import state

    console = make_console()
    table = make_table("weight", "state", "size", "licence", "channels")
    for weight in ids:
        spec = weight_spec(weight)
        channels = "; ".join(channel.text for channel in spec.channels)
        add_row(table, [weight, state(weight), bytes_text(spec.size), spec.licence or "not stated", channels])
    console.print(table)
