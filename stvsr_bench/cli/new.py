"""``stvsr-bench new``: the folder of a new method, working from the first minute."""

from __future__ import annotations

import os
from pathlib import Path

import click

from stvsr_bench.cli.output import make_console, say
from stvsr_bench.core.paths import SEARCH_VARIABLE, user_path
from stvsr_bench.evaluation.skeleton import write_method


@click.command("new")
@click.argument("kind", type=click.Choice(["method"]))
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    help="Folder that holds methods/ (default: the first of $STVSR_BENCH_PATH, else the current folder).",
)
@click.option("--task", type=click.Choice(["vsr", "vfi", "stvsr"]), default="stvsr", show_default=True)
def command(kind: str, name: str, into: Path | None, task: str) -> None:
    """Write methods/NAME with a card, a config, a README and a class that runs; then fill them.

    The folder is the registration: no packaging, no fork.
    """
    console = make_console()
    on_path = [part for part in os.environ.get(SEARCH_VARIABLE, "").split(os.pathsep) if part]
    root = user_path(into if into is not None else (on_path[0] if on_path else "."))
    folder = write_method(root, name, task)
    say(console, f"wrote {folder}: card.yaml, config.yaml, method.py, README.md")
    if str(root) not in [str(user_path(part)) for part in on_path]:
        say(console, f"let it be found:  export {SEARCH_VARIABLE}={root}")
    say(console, f"check it:         stvsr-bench validate method {name}")
    say(console, f"run it:           stvsr-bench run method={name} dataset=demo")
