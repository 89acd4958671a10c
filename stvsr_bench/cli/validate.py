"""``stvsr-bench validate``: is a registered method or dataset what its card says?"""

from __future__ import annotations

import click

from stvsr_bench.cli.output import make_console, say


@click.command("validate")
@click.argument("kind", type=click.Choice(["method", "dataset"]))
@click.argument("name")
def command(kind: str, name: str) -> int:
    """Check card, options, README and code of a method (it restores tiny clips) or dataset (it is looked for on disk).

    Exit status: 0 when every check passes, 1 otherwise.
    """
    from stvsr_bench.evaluation.validate import validate_dataset, validate_method

    console = make_console()
    failed = 0
    for check in validate_method(name) if kind == "method" else validate_dataset(name):
        say(console, f"{'ok  ' if check.ok else 'FAIL'}  {check.what}{': ' + check.detail if check.detail else ''}")
        failed += not check.ok
    say(console, f"{kind} '{name}': " + ("every check passes" if not failed else f"checks that fail: {failed}"))
    return 1 if failed else 0
