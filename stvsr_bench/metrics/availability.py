"""Whether a metric can run here: its packages, programs and weights; imports no torch."""

from __future__ import annotations

import importlib.metadata

from stvsr_bench.core.errors import BenchError, MetricError
from stvsr_bench.metrics.info import MetricInfo


def lacking(info: MetricInfo, *, fetch: bool = True) -> BenchError | None:
    """Return why ``info`` cannot run here, or ``None``.

    Args:
        info: the metric.
        fetch: absent weights are no reason, as they are fetched when first needed.
    """
    absent = [package for package in info.needs if not _installed(package)]
    if absent:
        return MetricError(
            f"metric '{info.id}' needs the package {' and '.join(absent)}",
            got="not installed",
            action=f"pip install {' '.join(absent)}",
        )
    if info.program is not None:
        from stvsr_bench.metrics.programs import missing_program

        problem = missing_program(info.program)
        if problem is not None:
            return problem
    if not fetch:
        from stvsr_bench.weights.service import state

        missing = [weight for weight in info.weights if state(weight) == "absent"]
        if missing:
            return MetricError(
                f"metric '{info.id}' needs the weights {', '.join(missing)}",
                got="absent",
                action=f"stvsr-bench fetch {info.id}",
            )
    return None


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
