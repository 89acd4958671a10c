"""Shell completion: command names by ourselves, overrides by Hydra's own engine."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from stvsr_bench.cli.app import COMMANDS

OVERRIDING = ("run", "prepare", "restore")


def complete(arguments: Sequence[str]) -> int:
    """Answer ``stvsr-bench --shell-completion install=SHELL`` and the queries of the installed script.

    Args:
        arguments: the command line; a query carries the typed line in ``$COMP_LINE``.

    Returns:
        The exit status.
    """
    from stvsr_bench.evaluation.compose import hydra_entry

    query = any("query=" in argument for argument in arguments)
    if query:
        line = os.environ.get("COMP_LINE", "")
        words = line.split()
        begun = words[1:] if line.endswith(" ") else words[1:-1]
        if not begun:
            typed = "" if line.endswith(" ") else words[-1]
            click.echo("\n".join(name for name in COMMANDS if len(words) < 2 or name.startswith(typed)))
            return 0
        if begun[0] not in OVERRIDING:
            return 0
        os.environ["COMP_LINE"] = line.replace(f" {begun[0]}", "", 1)
    hydra_entry(arguments, lambda config: None, "stvsr-bench")
    return 0
