"""What tables need to know about a metric: unit, direction, digits and place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class MetricFacts:
    """A metric as a table sees it.

    Attributes:
        unit: unit of its values, ``""`` where there is none.
        higher_is_better: direction; ``None`` where it is not known, so that nothing is ranked.
        version: newest version, for metrics that were asked for and have no value yet.
        needs_gt: whether it compares with ground truth.
    """

    unit: str
    higher_is_better: bool | None
    version: int
    needs_gt: bool

    @property
    def digits(self) -> int:
        """Decimals in printed tables: 2 for dB, 4 otherwise."""
        return 2 if self.unit == "dB" else 4

    @property
    def heading(self) -> str:
        """What a column heading adds to the metric's id: arrow towards better, and the unit where it has one."""
        arrow = {True: "↑", False: "↓", None: ""}[self.higher_is_better]
        unit = f"({self.shown_unit})" if self.shown_unit else ""
        return f"{arrow} {unit}".strip()

    @property
    def shown_unit(self) -> str:
        """The unit where it says more than a plain number does."""
        return "" if self.unit == "0-1" else self.unit


UNKNOWN = MetricFacts(unit="", higher_is_better=None, version=0, needs_gt=True)
"""Facts of a metric that is not registered here (a plug-in of another machine): shown, never ranked."""


def installed_facts() -> Mapping[str, MetricFacts]:
    """Return the facts of every metric of the catalogue and of plug-ins, in the order in which tables show them."""
    from stvsr_bench.metrics.catalog import CATALOG
    from stvsr_bench.metrics.registry import known_metrics

    known = known_metrics()
    return {
        name: MetricFacts(info.unit, info.higher_is_better, info.version, info.reference == "full")
        for name in [*CATALOG, *sorted(known.keys() - CATALOG.keys())]
        for info in [known[name]]
    }
