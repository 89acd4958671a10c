"""Quality of single frames without ground truth."""

from __future__ import annotations

from stvsr_bench.metrics.info import MetricInfo

FACTS: tuple[MetricInfo, ...] = ()
