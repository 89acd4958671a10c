"""Which metrics exist and what each id stands for; imports no torch, so that listing them stays instant."""

from __future__ import annotations

from collections.abc import Iterable

from stvsr_bench.core.errors import UnknownNameError
from stvsr_bench.metrics.facts import fidelity, no_reference, perceptual, temporal, video, vmaf
from stvsr_bench.metrics.info import MetricInfo

__all__ = ["CATALOG", "MetricInfo", "find_metric"]

CATALOG: dict[str, MetricInfo] = {
    info.id: info for family in (fidelity, perceptual, temporal, no_reference, video, vmaf) for info in family.FACTS
}
"""The metrics that ship with the package, by id."""


def find_metric(name: str, infos: Iterable[MetricInfo] | None = None) -> MetricInfo:
    """Return the metric whose id or alias is ``name``.

    Args:
        name: id or alias.
        infos: where to look; default: ``CATALOG``.

    Raises:
        UnknownNameError: nothing has that name.

    >>> find_metric("psnr_y_bt601_crop4").id
    'psnr_y_crop4'
    """
    known = list(CATALOG.values() if infos is None else infos)
    for info in known:
        if info.id == name:
            return info
    for info in known:
        if name in info.aliases:
            return info
    raise UnknownNameError("metric", name, [n for info in known for n in (info.id, *info.aliases)])
