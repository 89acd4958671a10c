"""What every metric is: a class that takes batches of frames in order and returns its values."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import torch

from stvsr_bench.core.errors import MetricError
from stvsr_bench.metrics.batch import FrameBatch
from stvsr_bench.metrics.catalog import MetricInfo
from stvsr_bench.metrics.result import Excluded, MetricResult, finite_mean

__all__ = ["DeferredMetric", "FrameBatch", "Metric", "build_metric"]


class Metric(ABC):
    """Streams batches of one clip and keeps one value per frame or pair.

    Life cycle: ``setup(device)`` → for each clip: ``start(name, frames)``, ``update`` for its batches in order,
    ``compute``. Values do not depend on how the clip is cut into batches. Subclasses write ``score``; those whose
    values are only known at the clip's end derive from :class:`DeferredMetric`.

    Args:
        info: the catalogue's facts; subclasses take the keys of ``info.params`` as further arguments.
    """

    frames: int | None
    """Frames of the clip that will be scored; ``None`` where nobody has said so."""

    def __init__(self, info: MetricInfo) -> None:
        self.info = info
        self.device = torch.device("cpu")
        self.reset()

    def setup(self, device: torch.device | str) -> None:
        """Prepare for ``device``; metrics with weights load them here."""
        self.device = torch.device(device)

    def start(self, clip: str, frames: int) -> None:
        """Begin a clip: what was seen before is forgotten.

        Args:
            clip: the clip's name; metrics that draw at random take their seed from it.
            frames: how many frames will be scored.
        """
        self.reset()
        self.clip = clip
        self.frames = frames

    def close(self) -> None:  # noqa: B027 (most metrics hold nothing)
        """Free what the metric holds besides its values (temporary files, programs)."""

    def reset(self) -> None:
        """Forget the clip."""
        self.clip = "clip"
        self.frames = None
        self._values: list[float] = []
        self._index: list[int] = []
        self._seen = 0
        self._without_gt = 0
        self._last_index: int | None = None
        self._previous: FrameBatch | None = None

    @abstractmethod
    def score(self, batch: FrameBatch, previous: FrameBatch | None) -> Sequence[float]:
        """Return the values of ``batch``.

        Args:
            batch: frames to score; ground truth is there for a full-reference metric.
            previous: pair metrics only: the frame before ``batch`` as a batch of one, ``None`` where the clip or one
                of its windows starts.

        Returns:
            For frame metrics one value per frame; for pair metrics one per pair: (previous, first) where ``previous``
            is given, then (first, second), … . A value that cannot be given is ``nan`` or infinite.
        """

    def why_excluded(self, value: float) -> str:
        """Say why the non-finite ``value`` is no score."""
        return f"the value is {value}"

    def update(self, batch: FrameBatch) -> None:
        """Score the next frames of the clip.

        Raises:
            MetricError: frames too small, out of order, or with and without ground truth in one clip.
        """
        info = self.info
        if batch.height < info.min_height or batch.width < info.min_width:
            raise MetricError(
                f"metric '{info.id}': frames of clip '{batch.clip}' are too small",
                got=f"{batch.width}×{batch.height}",
                accepted=f"at least {info.min_width}×{info.min_height}",
                action="leave this metric out of metrics.ids",
            )
        last = self._last_index
        if last is not None and batch.index[0] <= last:
            raise MetricError(
                f"metric '{info.id}': batches of clip '{batch.clip}' are out of order",
                got=f"frame {batch.index[0]} after frame {last}",
                accepted="increasing frame numbers; call reset() between clips",
            )
        if info.reference == "full":
            self._without_gt += 0 if batch.has_gt else len(batch)
            if 0 < self._without_gt < self._seen + len(batch):
                raise MetricError(f"metric '{info.id}': only a part of clip '{batch.clip}' has ground truth")
        self._seen += len(batch)
        if batch.opens:
            self._previous = None
        if not self._without_gt:
            self._keep(batch)
        self._last_index = batch.index[-1]

    def _keep(self, batch: FrameBatch) -> None:
        """Score ``batch`` and keep its values; pairs with frames missing in between are not pairs."""
        if self.info.level != "pair":
            values, starts = list(self.score(batch, None)), list(batch.index)
            kept = [True] * len(starts)
        else:
            index = (*(self._previous.index if self._previous else ()), *batch.index)
            values, starts = list(self.score(batch, self._previous)), list(index[:-1])
            kept = [b == a + 1 for a, b in pairwise(index)]
            self._previous = batch.tail()
        if len(values) != len(starts):
            raise MetricError(
                f"metric '{self.info.id}' broke its contract",
                got=f"{len(values)} values for {len(starts)} {self.info.level}s",
                accepted="one value each",
            )
        self._values += [float(v) for v, k in zip(values, kept, strict=True) if k]
        self._index += [i for i, k in zip(starts, kept, strict=True) if k]

    def compute(self) -> MetricResult:
        """Return the clip's result: the mean over all finite values, the values, and what was left out and why."""
        head, tail = self.info.skip
        last = max(head, len(self._values) - tail)
        index, raw = tuple(self._index[head:last]), self._values[head:last]
        excluded = tuple(
            Excluded(i, self.why_excluded(v))
            for i, v in zip(index, raw, strict=True)
            if not -float("inf") < v < float("inf")
        )
        left_out = {e.index for e in excluded}
        values = tuple(None if i in left_out else v for i, v in zip(index, raw, strict=True))
        value, n, reason = finite_mean(values, excluded)
        if self._without_gt:
            reason = "no ground truth"
        elif self._seen < self.info.min_frames:
            reason = f"needs at least {self.info.min_frames} frames, got {self._seen}"
        return MetricResult(self.info.level, values, index, value, n, reason, excluded)


class DeferredMetric(Metric):
    """A metric whose values are known only when the whole clip has passed: one for the clip, or one for each frame.

    Subclasses write ``observe`` and ``finish`` instead of ``score``.
    """

    @abstractmethod
    def observe(self, batch: FrameBatch) -> None:
        """Take in the next frames, keeping no more of them than the metric needs."""

    @abstractmethod
    def finish(self) -> Sequence[float]:
        """Return the values: one for each frame seen, or a single one where ``info.level`` is ``clip``."""

    def reset(self) -> None:
        super().reset()
        self._frame_numbers: list[int] = []

    def score(self, batch: FrameBatch, previous: FrameBatch | None) -> Sequence[float]:
        raise MetricError(f"metric '{self.info.id}' has no values before the clip's end", action="call compute()")

    def _keep(self, batch: FrameBatch) -> None:
        self._frame_numbers += batch.index
        self.observe(batch)

    def compute(self) -> MetricResult:
        """Return the clip's result; see :meth:`Metric.compute`."""
        if self._frame_numbers and self._seen >= self.info.min_frames:
            index = self._frame_numbers[:1] if self.info.level == "clip" else self._frame_numbers
            values = [float(value) for value in self.finish()]
            if len(values) != len(index):
                raise MetricError(
                    f"metric '{self.info.id}' broke its contract",
                    got=f"{len(values)} values for {len(index)}",
                    accepted="one for each frame" if self.info.level == "frame" else "one for the clip",
                )
            self._index, self._values = list(index), values
        return super().compute()


def build_metric(info: MetricInfo) -> Metric:
    """Import the class that ``info.entry`` names and construct it.

    Raises:
        MetricError: the entry cannot be imported, is no ``Metric``, or does not take the parameters.
    """
    module, _, name = info.entry.partition(":")
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise MetricError(
            f"metric '{info.id}': cannot import {info.entry}",
            got=f"{type(error).__name__}: {error}",
            action="install the package that provides it, or correct its entry",
        ) from error
    if not (isinstance(cls, type) and issubclass(cls, Metric)):
        raise MetricError(
            f"metric '{info.id}': {info.entry} is no metric", accepted="a subclass of stvsr_bench.metrics.base.Metric"
        )
    try:
        return cls(info, **info.params)
    except TypeError as error:
        raise MetricError(
            f"metric '{info.id}': {info.entry} does not take its parameters",
            got=f"{dict(info.params)} ({error})",
        ) from error
