"""What a run needs of the weights service: which weights, whether they are there, getting them, saying so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from stvsr_bench.core import registry
from stvsr_bench.core.errors import BenchError, ConfigError, UnknownNameError, WeightError
from stvsr_bench.metrics.catalog import MetricInfo
from stvsr_bench.metrics.registry import known_metrics, metric_info
from stvsr_bench.weights import service
from stvsr_bench.weights.cache import files_dir
from stvsr_bench.weights.known import bytes_text, describe

if TYPE_CHECKING:
    from stvsr_bench.methods.base import Method

ALL = "all"


class ConsoleReporter:
    """Tells of downloads and checks: a bar on a terminal, plain lines otherwise.

    Args:
        console: where to write.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: Progress | None = None

    def say(self, text: str) -> None:
        """Print a line as it is."""
        self.console.print(escape(text), highlight=False, soft_wrap=True)

    def begin(self, name: str, done: int, total: int | None, doing: str = "downloading") -> None:
        """Open the bar of what is done with ``name``."""
        resumed = f", going on from {bytes_text(done)}" if done else ""
        if not self.console.is_terminal:
            self.say(f"  {doing} {name} ({bytes_text(total)}{resumed})")
            return
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self.console,
        )
        self._bar.start()
        self._bar.add_task(escape(name if doing == "downloading" else f"{doing} {name}"), total=total, completed=done)

    def advance(self, count: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0], count)

    def end(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def needed_weights(method: Method, metrics: Iterable[MetricInfo] = ()) -> list[str]:
    """Return the ids of the weights that ``method`` and ``metrics`` read; a method's own kinds are left to it."""
    known = service.known_weights()
    ids = ["/".join(key.split("/")[-2:]) for key in method.weights_hashes()]  # a cascade puts a stage's role before
    ids += [weight for info in metrics for weight in info.weights]
    return [weight for weight in dict.fromkeys(ids) if weight in known]


def out_of_reach(weights: Iterable[str]) -> list[BenchError]:
    """Return an error for each weight that is absent and cannot be fetched: by hand only, or nothing may be."""
    faults: list[BenchError] = []
    for weight in weights:
        if not service.is_offline() and not service.weight_spec(weight).local:
            continue
        try:
            service.fetch_weight(weight)  # files that were put there by hand are taken over
        except WeightError as error:
            faults.append(error)
    return faults


def get_ready(weights: Iterable[str], console: Console) -> None:
    """Fetch what is absent, saying size and licence.

    Raises:
        WeightError: a weight cannot be had.
    """
    reporter = ConsoleReporter(console)
    for weight in weights:
        if service.state(weight) == "absent":
            reporter.say(f"fetching the weight {describe(weight, service.weight_spec(weight))}")
            service.fetch_weight(weight, reporter=reporter)


def weights_named(name: str) -> list[str]:
    """Return the ids of the weights that ``name`` stands for.

    Args:
        name: a weight's id, a method, a metric's id or alias, an owner of weights, or ``all``.

    Raises:
        UnknownNameError: it is none of these; the nearest are listed.
        MethodError: the method is only announced.
    """
    known = service.known_weights()
    usual = [weight for weight, spec in known.items() if not spec.on_request]
    if name == ALL:
        return usual
    if name in known:
        return [name]
    methods = registry.methods()
    if name in methods:
        own = [weight for weight in usual if weight.startswith(f"{name}/")]
        return list(dict.fromkeys([*own, *_of_method(name)]))
    metric_names = {n: info for info in known_metrics().values() for n in (info.id, *info.aliases)}
    if name in metric_names:
        return list(metric_info(name).weights)
    owned = [weight for weight in usual if weight.startswith(f"{name}/")]
    if owned:
        return owned
    raise UnknownNameError(
        "weight", name, {*known, *methods, *metric_names, ALL}, "see `stvsr-bench list weights` for their ids"
    )


def _of_method(name: str) -> list[str]:
    from stvsr_bench.methods.factory import build_method

    try:
        return needed_weights(build_method(name))
    except ConfigError:  # it needs options first: what they choose is fetched by its own name
        return []


def fetch(weights: Sequence[str], console: Console, *, folder: Path | None = None) -> dict[str, WeightError]:
    """Fetch ``weights``, saying what becomes of each.

    Args:
        weights: ids.
        console: where to write.
        folder: take them from there and from nowhere else.

    Returns:
        Why each weight that could not be had could not.

    Raises:
        WeightError: ``folder`` does not exist.
    """
    if folder is not None and not folder.is_dir():
        raise WeightError(f"--from: '{folder}' is no folder", accepted="the folder that holds the files")
    reporter = ConsoleReporter(console)
    faults: dict[str, WeightError] = {}
    for weight in weights:
        spec = service.weight_spec(weight)
        if service.state(weight) == "present":
            reporter.say(f"{describe(weight, spec)}: present")
            continue
        reporter.say(f"{describe(weight, spec)}: fetching")
        try:
            service.fetch_weight(weight, folder=folder, reporter=reporter)
        except WeightError as error:
            faults[weight] = error
            reporter.say(f"{weight}: FAILED: {error}")
        else:
            reporter.say(f"{weight}: present")
    return faults


def summary() -> str:
    """Return one line about the weights that this installation knows."""
    states = [service.state(weight) for weight in service.known_weights()]
    offline = "; nothing is fetched ($HF_HUB_OFFLINE)" if service.is_offline() else ""
    return (
        f"{states.count('present')} present, {states.count('absent')} absent (see `stvsr-bench list weights`); "
        f"files put into {files_dir()} are found{offline}"
    )
