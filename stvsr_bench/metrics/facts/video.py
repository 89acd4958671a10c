"""Quality of whole clips."""

from __future__ import annotations

from stvsr_bench.metrics.info import MetricInfo

FACTS: tuple[MetricInfo, ...] = ()
