"""Scoring of one sample: frame batches stream through every metric, and the values are cut into subsets."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from stvsr_bench.core.errors import BenchError
from stvsr_bench.data.sample import Sample
from stvsr_bench.evaluation.hashed import HashedClip
from stvsr_bench.evaluation.store import score_key
from stvsr_bench.metrics.base import FrameBatch, Metric, build_metric
from stvsr_bench.metrics.catalog import MetricInfo
from stvsr_bench.metrics.result import MetricResult, views
from stvsr_bench.video.clip import Frames

BATCH_PIXELS = 4_000_000
"""Pixels that are scored at once: what metrics hold of a frame (feature maps) is many times its size."""


class Scorer:
    """Scores the output frames of one sample as they arrive.

    Args:
        metrics: what to score with.
        sample: the sample; only its scored frames count.
        gt: the ground truth, read in step with the output, or ``None``.
        device: where the arithmetic runs.

    Attributes:
        seconds: time spent in metric arithmetic, without waiting for frames.
    """

    def __init__(self, metrics: Sequence[MetricInfo], sample: Sample, gt: HashedClip | None, device: str) -> None:
        self.infos = list(metrics)
        self.sample = sample
        self.gt = gt
        self.device = device
        self.seconds = 0.0
        self._failed: dict[str, str] = {}
        self._metrics: dict[str, Metric] = {}
        for info in self.infos:
            if info.reference == "none" or gt is not None:
                metric = build_metric(info)
                metric.setup(device)
                self._metrics[info.id] = metric

    def push(self, block: Frames, start: int) -> None:
        """Score the output frames ``start … start + len(block) - 1``."""
        scored = self.sample.scored
        first, last = max(start, scored.start), min(start + len(block), scored.stop)
        if first >= last:
            return
        size = max(1, BATCH_PIXELS // (block.shape[-2] * block.shape[-1]))
        for begin in range(first, last, size):
            end = min(begin + size, last)
            gt = None if self.gt is None else self.gt[begin:end]
            began = time.perf_counter()
            batch = FrameBatch(block[begin - start : end - start], gt, range(begin, end), self.device, self.sample.name)
            self._update(batch)
            self.seconds += time.perf_counter() - began

    def _update(self, batch: FrameBatch) -> None:
        for name, metric in list(self._metrics.items()):
            try:
                metric.update(batch)
            except BenchError as error:
                self._failed[name] = str(error)
                del self._metrics[name]

    def results(self, output_hash: str, gt_hash: str | None) -> dict[str, Any]:
        """Return the ``scores`` of the sample's result file."""
        began = time.perf_counter()
        scores = {}
        for info in self.infos:
            key = score_key(
                output_hash,
                gt_hash if info.reference == "full" else None,
                info,
                (self.sample.scored.start, self.sample.scored.stop),
                list(self.sample.key_frames),
            )
            if info.id in self._metrics:
                scores[info.id] = self._record(info, key, self._metrics[info.id].compute())
            else:
                reason = self._failed.get(info.id, "no ground truth")
                scores[info.id] = _empty(info, key, reason)
        self.seconds += time.perf_counter() - began
        return scores

    def _record(self, info: MetricInfo, key: str, result: MetricResult) -> dict[str, Any]:
        subsets = {name: mean._asdict() for name, mean in views(result, self.sample.key_frames).items()}
        return {
            "version": info.version,
            "key": key,
            "value": result.value,
            "n": result.n,
            "reason": result.reason,
            "excluded": [asdict(excluded) for excluded in result.excluded],
            "values": list(result.values),
            "index": list(result.index),
            "subsets": subsets,
        }


def _empty(info: MetricInfo, key: str, reason: str) -> dict[str, Any]:
    nothing = {"value": None, "n": 0, "reason": reason}
    return {
        "version": info.version,
        "key": key,
        **nothing,
        "excluded": [],
        "values": [],
        "index": [],
        "subsets": {"key": dict(nothing), "interpolated": dict(nothing)},
    }


def stale(
    scores: dict[str, Any], metrics: Iterable[MetricInfo], sample: Sample, output_hash: str, gt_hash: str | None
) -> list[MetricInfo]:
    """Return the metrics whose stored values are absent or were made from something else."""
    scored = (sample.scored.start, sample.scored.stop)
    return [
        info
        for info in metrics
        if scores.get(info.id, {}).get("key")
        != score_key(output_hash, gt_hash if info.reference == "full" else None, info, scored, list(sample.key_frames))
    ]
