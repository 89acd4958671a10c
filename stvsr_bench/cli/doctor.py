"""``stvsr-bench doctor``: is this installation fit to run?"""

from __future__ import annotations

import click

from stvsr_bench.cli.output import make_console, say


@click.command("doctor")
def command() -> int:
    """Check versions, devices, folders, cards and optional parts; every line is a check that can fail.

    Exit status: 0 when every check passes, 1 otherwise.
    """
    from stvsr_bench.evaluation.doctor import checks

    console = make_console()
    failed = 0
    for check in checks():
        say(console, f"{'ok  ' if check.ok else 'FAIL'}  {check.what}{': ' + check.detail if check.detail else ''}")
        failed += not check.ok
    say(console, "everything is fit" if not failed else f"checks that fail: {failed}")
    return 1 if failed else 0
