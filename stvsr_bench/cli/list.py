"""``stvsr-bench list``: what there is, without loading any of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
from rich.console import Console

from stvsr_bench.cli.output import add_row, make_console, make_table, say
from stvsr_bench.core import registry
from stvsr_bench.core.dataset_card import DEFAULT_VARIANT, DatasetCard
from stvsr_bench.core.errors import BenchError, UnknownNameError
from stvsr_bench.core.paths import DATA_VARIABLE, SEARCH_VARIABLE, data_root, user_path

KINDS = ("methods", "datasets", "protocols", "metrics", "weights", "runs")


@click.command("list")
@click.argument("kind", metavar=f"[{'|'.join(KINDS)}]")
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path))
def command(kind: str, folders: tuple[Path, ...]) -> int:
    """List methods, datasets, protocols, metrics, weights, or the runs below FOLDERS (default results/runs).

    Folders dropped under $STVSR_BENCH_PATH and installed plug-ins are listed with where they come from.
    """
    console = make_console()
    listings: dict[str, Callable[[Console], list[BenchError]]] = {
        "methods": _methods,
        "datasets": _datasets,
        "protocols": _protocols,
        "metrics": _metrics,
        "weights": _weights,
        "runs": partial(_runs, folders=folders),
    }
    if kind not in listings:
        raise UnknownNameError("list", kind, KINDS, f"one of: stvsr-bench list {'|'.join(KINDS)}")
    problems = listings[kind](console)
    for problem in problems:
        say(console, f"problem: {problem}")
    return 1 if problems else 0


def _methods(console: Console) -> list[BenchError]:
    names = registry.methods()
    table = make_table("name", "task", "status", "licence", "what it is", "from")
    problems = list(names.problems)
    for name, entry in names.items():
        try:
            card = entry.card
        except BenchError as error:
            problems.append(error)
            continue
        add_row(table, [name, card.task, card.standing, card.licence, card.title, entry.origin])
    console.print(table)
    say(console, f"more: stvsr-bench show NAME; your own: stvsr-bench new method NAME, then ${SEARCH_VARIABLE}")
    return problems


def _datasets(console: Console) -> list[BenchError]:
    from stvsr_bench.data.state import dataset_state

    names = registry.datasets()
    table = make_table("name", "kind", "state", "clips", "where", "licence", "what it is", "from")
    problems = list(names.problems)
    remarks: list[str] = []
    above = data_root()
    for name, entry in names.items():
        try:
            card = entry.card
            found = dataset_state(card, entry.knobs)
        except BenchError as error:
            problems.append(error)
            continue
        where = found.root and (found.root.relative_to(above) if found.root.is_relative_to(above) else found.root)
        state = found.state if found.variant in (None, DEFAULT_VARIANT) else f"{found.state} [{found.variant}]"
        state += ", not reproducible" if card.not_reproducible else ""
        kind = card.kind or "from the files"
        add_row(
            table, [name, kind, state, found.count or _expected(card), where, card.licence, card.title, entry.origin]
        )
        if found.state in ("incomplete", "other", "unreadable"):
            remarks += [f"{name}: {detail}" for detail in found.details]
    console.print(table)
    for remark in remarks:
        say(console, remark)
    say(console, f"where is below {above} (${DATA_VARIABLE}); states tell names and counts, nothing was opened")
    say(console, "more: stvsr-bench show NAME; any folder of clips: dataset=folder dataset.root=DIR dataset.name=NAME")
    return problems


def _expected(card: DatasetCard) -> str | None:
    """Clips of a dataset that is not here: of the variant that has its bare name, or of each."""
    counts = {name: variant.n_clips for name, variant in card.variants.items()}
    if len(set(counts.values())) == 1 or DEFAULT_VARIANT in counts:
        return str(counts.get(DEFAULT_VARIANT, next(iter(counts.values()))))
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or None


def _protocols(console: Console) -> list[BenchError]:
    from stvsr_bench.data.protocol import known_protocols, load_protocol

    table = make_table("id", "version", "φs", "φt", "what it does")
    for name in known_protocols():
        protocol = load_protocol(name)
        add_row(table, [protocol.id, protocol.version, protocol.scale, protocol.time_scale, protocol.explain()])
    add_row(table, ["auto", None, None, None, "one of these, from the method and the dataset's kind"])
    console.print(table)
    return []


def _metrics(console: Console) -> list[BenchError]:
    from stvsr_bench.metrics.availability import lacking
    from stvsr_bench.metrics.catalog import CATALOG
    from stvsr_bench.metrics.groups import known_groups
    from stvsr_bench.metrics.registry import known_metrics, metric_problems

    table = make_table("id", "here", "unit", "better", "needs GT", "licence", "version", "from", "conventions")
    for info in known_metrics().values():
        better = "higher" if info.higher_is_better else "lower"
        needs = "yes" if info.reference == "full" else "no"
        origin = "installed" if info.id in CATALOG else f"package {info.entry.partition(':')[0].partition('.')[0]}"
        problem = lacking(info, fetch=False)
        here = "ready" if problem is None else problem.what.removeprefix(f"metric '{info.id}' ")
        conventions = info.conventions
        add_row(table, [info.id, here, info.unit, better, needs, info.licence, info.version, origin, conventions])
    console.print(table)
    say(console, f"groups (metrics=GROUP): {', '.join(known_groups())}")
    say(
        console,
        "weights: stvsr-bench fetch ID; what needs pyiqa: pip install 'stvsr-bench[iqa]'; VMAF: 'stvsr-bench[vmaf]'",
    )
    return metric_problems()


def _weights(console: Console) -> list[BenchError]:
    from stvsr_bench.cli.fetch import print_weights
    from stvsr_bench.weights.cache import cache_dir
    from stvsr_bench.weights.known import known_weights

    print_weights(list(known_weights()))
    say(console, f"cache: {cache_dir()}; get them: stvsr-bench fetch NAME|all [--from DIR]")
    return []


def _runs(console: Console, folders: tuple[Path, ...]) -> list[BenchError]:
    from stvsr_bench.report.results import find_runs

    found = find_runs([user_path(folder) for folder in folders] or [user_path("results/runs")])
    table = make_table("method", "dataset", "protocol", "seed", "clips ok", "marks", "folder")
    for run in found.runs:
        ok = sum(sample.status == "ok" for sample in run.samples.values())
        marks = [mark for mark in (run.partial, "untrained" if run.untrained else None) if mark]
        add_row(
            table,
            [run.method, run.dataset, run.protocol, run.seed, f"{ok}/{run.expected}", ", ".join(marks), run.folder],
        )
    console.print(table)
    return list(found.problems)
