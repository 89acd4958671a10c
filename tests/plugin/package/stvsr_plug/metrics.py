"""The facts about the metrics of this plug-in, free of torch."""

from stvsr_bench.metrics.catalog import MetricInfo

METRICS = [
    MetricInfo(
        id="plug_metric",
        version=1,
        title="Mean absolute error",
        conventions="8-bit RGB, mean over samples, then frames, then clips",
        unit="levels",
        higher_is_better=False,
        reference="full",
        level="frame",
        entry="stvsr_plug.absolute_error:AbsoluteError",
    )
]
