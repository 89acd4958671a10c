"""The ``run`` command behind the command line: every job of a sweep, their statuses, what is printed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from stvsr_bench.core.errors import BenchError
from stvsr_bench.evaluation.compose import hydra_entry
from stvsr_bench.evaluation.describe import headline, print_plan
from stvsr_bench.evaluation.plan import make_plan
from stvsr_bench.evaluation.runner import Outcome, execute
from stvsr_bench.report.leaderboard import build_leaderboard
from stvsr_bench.report.terminal import print_leaderboard

USER_ERROR = 2


def run_command(arguments: Sequence[str], console: Console) -> int:
    """Run what the arguments of ``stvsr-bench run`` ask for.

    Args:
        arguments: overrides and Hydra's own options.
        console: where progress and tables go.

    Returns:
        The exit status: 0 all ok, 1 a sample failed, 2 a job of a sweep could not start.

    Raises:
        BenchError: the options are wrong, or the only job cannot start.
    """
    return run_jobs(arguments, console, run_job)


def run_jobs(arguments: Sequence[str], console: Console, one: Callable[[dict[str, Any], Console], int]) -> int:
    """Do one job, or every job of a sweep: a job that cannot start does not stop the others.

    Args:
        arguments: overrides and Hydra's own options.
        console: where progress and tables go.
        one: does a job from its resolved configuration and returns its exit status.

    Returns:
        The worst exit status.

    Raises:
        BenchError: the options are wrong, or the only job cannot start.
    """
    sweep = "--multirun" in arguments or "-m" in arguments
    statuses: list[int] = []

    def job(config: dict[str, Any]) -> None:
        try:
            statuses.append(one(config, console))
        except BenchError as error:
            if not sweep:
                raise
            statuses.append(USER_ERROR)
            Console(stderr=True).print("error: " + escape("\n".join(error.lines())), highlight=False, soft_wrap=True)

    hydra_entry(arguments, job, "stvsr-bench")
    if sweep and len(statuses) > 1:
        failed = sum(status != 0 for status in statuses)
        console.print(f"{len(statuses)} jobs: {len(statuses) - failed} ok, {failed} not ok", highlight=False)
    return max(statuses, default=0)


def run_job(config: dict[str, Any], console: Console) -> int:
    """Plan and run one job, print its table, and return its exit status."""
    plan = make_plan(config)
    if config["dry_run"]:
        return print_plan(plan, console)
    console.print(f"[bold]{escape(headline(plan))}[/bold] on {plan.device}", highlight=False, soft_wrap=True)
    for note in plan.notes:
        console.print(escape(f"note: {note}"), highlight=False, soft_wrap=True)
    outcome = execute(plan, console)
    _print_outcome(outcome, console)
    return outcome.exit_status


def _print_outcome(outcome: Outcome, console: Console) -> None:
    board = build_leaderboard([outcome.plan.folder])
    print_leaderboard(board, console)
    console.print(f"results: {outcome.plan.folder}", highlight=False, soft_wrap=True, markup=False)
    for metric, reason in outcome.unscored.items():
        console.print(escape(f"not scored with {metric}: {reason}"), highlight=False, soft_wrap=True)
    if outcome.failures:
        console.print(
            f"{len(outcome.failures)} of {len(outcome.plan.sources)} samples failed; the same command tries them again",
            highlight=False,
        )
