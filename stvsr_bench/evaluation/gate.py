"""The regression gate: re-run the demo suite of the baselines, compare with the golden values."""

from __future__ import annotations

import contextlib
import datetime
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from stvsr_bench.core.errors import ResultError
from stvsr_bench.core.paths import golden_dir, user_path
from stvsr_bench.evaluation.compose import compose
from stvsr_bench.evaluation.plan import make_plan
from stvsr_bench.evaluation.runner import execute
from stvsr_bench.report.regression import Difference, Golden, compare, current_values, read_golden, update, write_golden
from stvsr_bench.report.results import find_runs

SUITE = (
    ("nearest", "bi-x4"),
    ("bilinear", "bi-x4"),
    ("bicubic", "bi-x4"),
    ("lanczos", "bi-x4"),
    ("repeat", "gt-t2"),
    ("blend", "gt-t2"),
    ("blend", "gt-t4"),
    ("dis_flow", "gt-t2"),
    ("dis_flow", "gt-t4"),
    ("bicubic_blend", "bi-x4t2"),
    ("bicubic_dis_flow", "bi-x4t2"),
)
"""Method and protocol of every run on the demo clips."""

DESCRIPTION = "every baseline on the demo clips: " + ", ".join(f"{method} {protocol}" for method, protocol in SUITE)


def golden_path(given: Path | None = None) -> Path:
    """Return the golden file: the given one, or the one that ships."""
    return golden_dir() / "demo.json" if given is None else user_path(given)


def run_suite(results: Path, console: Console) -> None:
    """Run every method of the suite afresh into ``results``.

    Raises:
        ResultError: a sample failed.
    """
    for method, protocol in SUITE:
        plan = make_plan(
            compose(
                [
                    f"method={method}",
                    "dataset=demo",
                    f"protocol={protocol}",
                    f"results_dir={results}",
                    "keep_outputs=no",
                    "device=cpu",
                ]
            )
        )
        outcome = execute(plan, Console(quiet=True))
        if outcome.failures:
            raise ResultError(
                f"the suite failed: {method} under {protocol}",
                got="; ".join(f"{name}: {why}" for name, why in outcome.failures.items()),
                action="repair this first: there is nothing to compare",
            )
        console.print(f"ran {method} {protocol}", highlight=False)


def check(
    console: Console, *, golden: Path | None = None, reason: str | None = None, keep: Path | None = None
) -> list[Difference]:
    """Run the suite and compare it with the golden file, or set the golden file from it.

    Args:
        console: where progress goes.
        golden: the golden file; default: the one that ships.
        reason: why the golden values change; ``None`` only compares.
        keep: keep the runs in this empty folder; default: a temporary one.

    Returns:
        What differs; empty after an update.

    Raises:
        ResultError: the suite failed, or the golden file is absent or damaged.
        ConfigError: the reason is empty.
    """
    path = golden_path(golden)
    old = read_golden(path) if reason is None or path.is_file() else Golden(suite=DESCRIPTION)
    with _results(keep) as results:
        run_suite(results, console)
        current = current_values(find_runs([results]).runs)
    if reason is None:
        return compare(old, current)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    write_golden(path, update(old, current, reason, today))
    return []


@contextlib.contextmanager
def _results(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="stvsr-bench-check-") as folder:
            yield Path(folder)
        return
    folder_path = user_path(keep)
    if folder_path.is_dir() and any(folder_path.iterdir()):
        raise ResultError(
            f"'{keep}' is not empty",
            accepted="an empty or new folder: the suite is always run afresh",
            action="choose another",
        )
    yield folder_path
