"""The program ``stvsr-bench``: commands are loaded when called, so that ``--help`` and ``list`` stay quick."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click

import stvsr_bench
from stvsr_bench.core.errors import BenchError

COMMANDS = {
    "run": "Run a method on a dataset under a protocol, score it and keep every result.",
    "prepare": "Find, check and hash a dataset, and make the LQ sets of a protocol.",
    "restore": "Restore one video or folder of frames, for people who just want the video.",
    "score": "Score a video or folder of frames against its ground truth.",
    "diagnose": "Look for shifts, lags, repeats, wrong colours and lossy coding in outputs.",
    "leaderboard": "Print and export the leaderboard of every run below some folders.",
    "strips": "Draw comparison strips (GT, LQ, every method) of finished runs.",
    "fetch": "Fetch the weights of methods and metrics ahead of time.",
    "check": "Regression gate: re-run the demo suite and compare with the golden values.",
    "list": "List methods, datasets, protocols, metrics, weights or runs.",
    "show": "Show all that is known of one method, dataset, protocol, metric or run.",
    "validate": "Check the card, configuration and code of a method or dataset.",
    "new": "Write a working folder skeleton for a new method.",
    "doctor": "Check this installation: versions, devices, folders, optional parts.",
}


class LazyCommands(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"stvsr_bench.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from stvsr_bench.core.errors import UnknownNameError

            raise UnknownNameError("command", args[0], COMMANDS, "see `stvsr-bench --help`")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(stvsr_bench.__version__, prog_name="stvsr-bench")
@click.option("--debug", is_flag=True, help="Show the traceback of errors.")
def app(debug: bool) -> None:
    """Compare methods of space-time video super-resolution fairly.

    \b
    A first benchmark:  stvsr-bench run method=bicubic_dis_flow dataset=demo protocol=bi-x4t2
    Then its table:     stvsr-bench leaderboard
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and leave with its exit status: 0 all ok, 1 a sample failed, 2 user error, 130 interrupted."""
    # Restoring, scoring, reading and writing overlap in threads. Idle OpenMP threads that spin instead of sleeping take
    # the cores from the others: on two cores a run took 2.6 times as long. Read when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0].split("=")[0] in ("-sc", "--shell-completion"):
        from stvsr_bench.cli.completion import complete

        sys.exit(complete(given))
    debug = "--debug" in given
    given = [a for a in given if a != "--debug"]
    try:
        status = app.main(args=given, prog_name="stvsr-bench", standalone_mode=False)
    except BenchError as error:
        if debug:
            raise
        complain("\n".join(error.lines()))
        sys.exit(2)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        complain("interrupted; finished samples are kept: the same command goes on from there")
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)


def complain(text: str) -> None:
    """Print an error to standard error."""
    click.secho(f"error: {text}", fg="red" if sys.stderr.isatty() else None, err=True)
