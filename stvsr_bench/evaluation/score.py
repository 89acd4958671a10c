"""Scoring two clips without a dataset, a protocol or a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stvsr_bench.core.errors import MetricError
from stvsr_bench.evaluation.plan import resolve_device
from stvsr_bench.metrics.base import FrameBatch, build_metric
from stvsr_bench.metrics.catalog import MetricInfo
from stvsr_bench.metrics.registry import known_metrics, metric_info
from stvsr_bench.metrics.result import MetricResult
from stvsr_bench.video.prefetch import PrefetchClip
from stvsr_bench.video.reading import open_clip
from stvsr_bench.weights.service import state

BLOCK = 8  # frames per batch; no value depends on it


def ready_metrics() -> list[MetricInfo]:
    """Return the metrics that need no weights, or whose weights are here."""
    return [info for info in known_metrics().values() if all(state(weight) == "present" for weight in info.weights)]


def score_clips(
    prediction: Path, gt: Path | None, ids: Sequence[str] | None = None, device: str = "auto"
) -> list[tuple[MetricInfo, MetricResult]]:
    """Score ``prediction``, frame by frame against ``gt`` where it is given.

    Args:
        prediction: a video file or a folder of frames.
        gt: its ground truth, with equal count and size, or ``None``.
        ids: metric ids or aliases; default: every metric that applies and whose weights are here.
        device: ``auto``, ``cpu`` or ``cuda:N``.

    Returns:
        Each metric with its result, in the order asked for.

    Raises:
        ClipError: a clip cannot be read.
        MetricError: counts or sizes differ, or a full-reference metric is asked for without ``gt``.
    """
    infos = [metric_info(name) for name in ids] if ids is not None else ready_metrics()
    if gt is None:
        needing = [info.id for info in infos if info.reference == "full"]
        if ids is not None and needing:
            raise MetricError(
                f"metrics {', '.join(needing)} need ground truth", got="no --gt", action="give it with --gt PATH"
            )
        infos = [info for info in infos if info.reference == "none"]
    where = resolve_device(device)
    metrics = [build_metric(info) for info in infos]
    for metric in metrics:
        metric.setup(where)
    predicted = open_clip(prediction)
    truth = None if gt is None else open_clip(gt)
    if truth is not None and (len(truth), truth.height, truth.width) != (
        len(predicted),
        predicted.height,
        predicted.width,
    ):
        raise MetricError(
            f"'{prediction}' and '{gt}' do not match",
            got=f"{len(predicted)} frames of {predicted.width}×{predicted.height} and "
            f"{len(truth)} frames of {truth.width}×{truth.height}",
            accepted="equal counts and sizes; nothing is cut or resized",
        )
    with PrefetchClip(predicted) as pred_reader:
        for start in range(0, len(predicted), BLOCK):
            block = pred_reader[start : start + BLOCK]
            other = None if truth is None else truth[start : start + BLOCK]
            batch = FrameBatch(block, other, range(start, start + len(block)), where, predicted.name)
            for metric in metrics:
                metric.update(batch)
    return [(info, metric.compute()) for info, metric in zip(infos, metrics, strict=True)]
