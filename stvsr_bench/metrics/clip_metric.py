"""The base of metrics that look at a few frames of a clip and give one score."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from stvsr_bench.core.errors import MetricError
from stvsr_bench.metrics.base import DeferredMetric
from stvsr_bench.metrics.batch import FrameBatch
from stvsr_bench.metrics.clip_views import ClipView


class ViewMetric(DeferredMetric):
    """Fills views while frames stream by and scores them at the end; memory does not grow with the clip.

    Which frames count depends on how many there are, so :meth:`start` must have told.
    """

    views: Mapping[str, ClipView]
    """The views by their names; empty before the first frame."""

    def reset(self) -> None:
        super().reset()
        self.views = {}

    @abstractmethod
    def plan(self, frames: int, size: tuple[int, int]) -> Mapping[str, ClipView]:
        """Return the empty views of a clip.

        Args:
            frames: how many frames it has.
            size: rows and columns of its frames.
        """

    @abstractmethod
    def rate(self, views: Mapping[str, ClipView]) -> float:
        """Return the score of full views."""

    def observe(self, batch: FrameBatch) -> None:
        if self.frames is None:
            raise MetricError(
                f"metric '{self.info.id}' must know how many frames clip '{self.clip}' has",
                action="call start(clip, frames) before update",
            )
        if not self.views:
            self.views = self.plan(self.frames, (batch.height, batch.width))
        for view in self.views.values():
            view.observe(batch, self._seen - len(batch))

    def finish(self) -> Sequence[float]:
        if self._seen != self.frames:
            raise MetricError(
                f"metric '{self.info.id}': clip '{self.clip}' has another number of frames than was announced",
                got=f"{self._seen} frames",
                accepted=f"{self.frames}",
            )
        return [self.rate(self.views)]
