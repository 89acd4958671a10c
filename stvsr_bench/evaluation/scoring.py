"""Scoring of one sample: frame batches stream through every metric, and the values are cut into subsets."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from stvsr_bench.core.errors import BenchError
from stvsr_bench.data.sample import Sample
from stvsr_bench.evaluation.store import score_key
from stvsr_bench.metrics.base import FrameBatch, Metric, build_metric
from stvsr_bench.metrics.batch import frames_at_once
from stvsr_bench.metrics.catalog import MetricInfo
from stvsr_bench.metrics.feature_store import FeatureStore
from stvsr_bench.metrics.result import MetricResult, views
from stvsr_bench.video.clip import Frames
from stvsr_bench.video.hashed import HashedClip


class Metrics:
    """The metrics of a run, set up when first needed and used for every sample.

    Args:
        device: where the arithmetic runs.
        store: keeps features of the ground truth on disk, or ``None``.
    """

    def __init__(self, device: str, store: FeatureStore | None = None) -> None:
        self.device = device
        self.store = store
        self._ready: dict[str, Metric] = {}

    def __getitem__(self, info: MetricInfo) -> Metric:
        if info.id not in self._ready:
            metric = build_metric(info)
            metric.setup(self.device)
            self._ready[info.id] = metric
        return self._ready[info.id]

    def close(self) -> None:
        """Free what the metrics hold, and wait until every stored feature is on disk."""
        for metric in self._ready.values():
            metric.close()
        self._ready.clear()
        if self.store is not None:
            self.store.close()


class Scorer:
    """Scores the output frames of one sample as they arrive.

    Args:
        infos: what to score with.
        sample: the sample; only its scored frames count.
        gt: the ground truth, read in step with the output, or ``None``.
        metrics: the run's metrics.

    Attributes:
        seconds: time spent in metric arithmetic, without waiting for frames.
    """

    def __init__(self, infos: Sequence[MetricInfo], sample: Sample, gt: HashedClip | None, metrics: Metrics) -> None:
        self.infos = list(infos)
        self.sample = sample
        self.gt = gt
        self.device = metrics.device
        self.store = metrics.store
        self.seconds = 0.0
        self._parts = sample.outputs
        self._failed: dict[str, str] = {}
        self._metrics: dict[str, Metric] = {}
        for info in self.infos:
            if info.reference == "none" or gt is not None:
                metric = metrics[info]
                metric.start(sample.name, len(sample.scored))
                self._metrics[info.id] = metric

    def push(self, block: Frames, start: int) -> None:
        """Score the output frames ``start … start + len(block) - 1``."""
        scored = self.sample.scored
        first, last = max(start, scored.start), min(start + len(block), scored.stop)
        if first >= last:
            return
        size = frames_at_once(int(block.shape[-2]), int(block.shape[-1]))
        for part in self._parts:
            for begin in range(max(first, part.start), min(last, part.stop), size):
                end = min(begin + size, last, part.stop)
                gt = None if self.gt is None else self.gt[begin:end]
                began = time.perf_counter()
                self._update(self._batch(block[begin - start : end - start], gt, begin, opens=begin == part.start))
                self.seconds += time.perf_counter() - began

    def _batch(self, pred: Frames, gt: Frames | None, begin: int, *, opens: bool) -> FrameBatch:
        frames = range(begin, begin + len(pred))
        batch = FrameBatch(pred, gt, frames, self.device, self.sample.name, self.store, opens=opens)
        if self.gt is not None:
            truth = self.gt
            batch.feature("gt", "digest", lambda: truth.digests(frames))  # taken while they were read
        return batch

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
            key = score_key(output_hash, gt_hash if info.reference == "full" else None, info, self.sample)
            if info.id in self._metrics:
                try:
                    scores[info.id] = self._record(info, key, self._metrics[info.id].compute())
                    continue
                except BenchError as error:
                    self._failed[info.id] = str(error)
            scores[info.id] = _empty(info, key, self._failed.get(info.id, "no ground truth"))
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
    return [
        info
        for info in metrics
        if scores.get(info.id, {}).get("key")
        != score_key(output_hash, gt_hash if info.reference == "full" else None, info, sample)
    ]
