"""Metrics of motion and of change over time."""

from __future__ import annotations

from stvsr_bench.metrics.info import MetricInfo

_FLICKERING = MetricInfo(
    id="vbench_temporal_flickering",
    version=1,
    title="VBench temporal flickering",
    conventions="8-bit RGB; (255 − mean |frame t+1 − frame t|) / 255 over all samples of a pair, mean over pairs, then "
    "over clips; motion lowers it and blur or repeated frames raise it, so it is no quality score on moving video",
    unit="0-1",
    higher_is_better=True,
    reference="none",
    level="pair",
    entry="stvsr_bench.metrics.temporal_flickering:TemporalFlickering",
    min_frames=2,
    source="VBench (arXiv:2311.17982), temporal_flickering.py; sums are exact here, float32 there (about 1e-7)",
    aliases=("temporal_flickering",),
)

FACTS = (_FLICKERING,)
