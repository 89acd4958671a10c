"""Every metric that can be named here: those of the package and those that plug-ins bring; imports no torch."""

from __future__ import annotations

from stvsr_bench.core.errors import BenchError, CardError
from stvsr_bench.core.registry import plugin_metrics
from stvsr_bench.metrics.catalog import CATALOG, MetricInfo, find_metric


def known_metrics() -> dict[str, MetricInfo]:
    """Return every metric by id; a plug-in never replaces a metric of the package."""
    return _collect()[0]


def metric_problems() -> list[BenchError]:
    """Return what is wrong with the metrics that plug-ins bring."""
    return _collect()[1]


def _collect() -> tuple[dict[str, MetricInfo], list[BenchError]]:
    known = dict(CATALOG)
    found, problems = plugin_metrics()
    for info in found:
        if not isinstance(info, MetricInfo):
            problems.append(
                CardError(
                    "an entry point of the group 'stvsr_bench.metrics' does not describe a metric",
                    got=repr(info),
                    accepted="stvsr_bench.metrics.catalog.MetricInfo, or a list of them",
                    action="correct or uninstall the package that brings it",
                )
            )
        elif info.id in known:
            problems.append(
                CardError(
                    f"two metrics are called '{info.id}'",
                    got=f"{known[info.id].entry} and {info.entry}",
                    accepted="one metric for each id",
                    action="rename the plug-in's metric; until then the first is used",
                )
            )
        else:
            known[info.id] = info
    return known, problems


def metric_info(name: str) -> MetricInfo:
    """Return the metric whose id or alias is ``name``.

    Raises:
        UnknownNameError: nothing has that name; the nearest are listed.
    """
    return find_metric(name, known_metrics().values())
