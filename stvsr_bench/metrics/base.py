"""What every metric is: a class that takes batches of frames in order and returns one value per frame or pair."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal, TypeVar

import torch

from stvsr_bench.core.errors import MetricError
from stvsr_bench.metrics.catalog import MetricInfo
from stvsr_bench.metrics.result import Excluded, MetricResult, finite_mean
from stvsr_bench.video.color import rgb_to_y_bt601

Side = Literal["pred", "gt", "both"]
T = TypeVar("T")


class FrameBatch:
    """Consecutive scored frames of one clip, with the features that several metrics share.

    Args:
        pred: restored frames, uint8 RGB ``(T, 3, H, W)``.
        gt: ground truth of the same shape, or ``None`` where there is none.
        index: the frames' numbers in the output clip, strictly increasing, one for each frame.
        device: where the arithmetic happens.
        clip: the clip's name, for messages.
        opens: the first frame does not go on where the frame before it ended: it opens a window of a protocol that cuts
            its clips into windows. No pair, no motion and no other memory may reach across.

    Raises:
        MetricError: counts, sizes or types do not match.
    """

    def __init__(
        self,
        pred: torch.Tensor,
        gt: torch.Tensor | None,
        index: Sequence[int],
        device: torch.device | str = "cpu",
        clip: str = "clip",
        *,
        opens: bool = False,
    ) -> None:
        for side, frames in (("prediction", pred), ("ground truth", gt)):
            if frames is not None and (
                frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[1] != 3 or 0 in frames.shape
            ):
                raise MetricError(
                    f"clip '{clip}': {side} cannot be scored",
                    got=f"shape {tuple(frames.shape)}, {frames.dtype}",
                    accepted="uint8 RGB (T, 3, H, W) with at least one frame",
                )
        if gt is not None and pred.shape != gt.shape:
            different = "frames" if len(pred) != len(gt) else "size"
            raise MetricError(
                f"clip '{clip}': prediction and ground truth differ in {different}",
                got=f"prediction {_describe(pred)}, ground truth {_describe(gt)}",
                accepted="equal counts and sizes; nothing is cropped or resized",
            )
        self.index = tuple(index)
        if len(self.index) != len(pred) or any(b <= a for a, b in pairwise(self.index)):
            raise MetricError(
                f"clip '{clip}': wrong frame numbers for a batch of {len(pred)} frames",
                got=str(list(self.index)),
                accepted="one for each frame, strictly increasing",
            )
        self.clip = clip
        self.opens = opens
        self.device = torch.device(device)
        self.height, self.width = int(pred.shape[2]), int(pred.shape[3])
        self._pred, self._gt = pred, gt
        self._features: dict[tuple[Side, str], Any] = {}
        self._tail: FrameBatch | None = None

    def __len__(self) -> int:
        return len(self.index)

    @property
    def has_gt(self) -> bool:
        """Whether the batch carries ground truth."""
        return self._gt is not None

    def feature(self, side: Side, key: str, function: Callable[[], T]) -> T:
        """Return the feature ``key`` of ``side``, computed by ``function`` the first time it is asked for.

        Args:
            side: whose feature: ``pred``, ``gt``, or ``both`` for what compares the two.
            key: name that fixes how the feature is made; metrics that write the same key share the value.
            function: makes the value; tensors in it (alone or in lists and tuples) have the frames in front.
        """
        if (side, key) not in self._features:
            self._features[side, key] = function()
        value: T = self._features[side, key]
        return value

    def u8(self, side: Literal["pred", "gt"]) -> torch.Tensor:
        """The frames as given, uint8 RGB ``(T, 3, H, W)``, on the batch's device."""
        frames = self._pred if side == "pred" else self._gt
        if frames is None:
            raise MetricError(f"clip '{self.clip}': a metric asked for ground truth where there is none")
        return self.feature(side, "u8", lambda: frames.to(self.device))

    def rgb(self, side: Literal["pred", "gt"]) -> torch.Tensor:
        """The frames as float32 RGB in [0, 1], ``(T, 3, H, W)``."""
        return self.feature(side, "rgb", lambda: self.u8(side).float().div_(255))

    def y(self, side: Literal["pred", "gt"]) -> torch.Tensor:
        """Y of MATLAB BT.601, float64 in 16 … 235, not rounded, ``(T, 1, H, W)``."""
        return self.feature(side, "y", lambda: rgb_to_y_bt601(self.u8(side).double().div_(255)).mul_(255))

    def tail(self) -> FrameBatch:
        """The last frame as a batch of one, with the features known so far: the next batch's first pair needs it."""
        if self._tail is None:
            gt = None if self._gt is None else self._gt[-1:].clone()
            last = FrameBatch(self._pred[-1:].clone(), gt, self.index[-1:], self.device, self.clip)
            last._features = {key: _last(value) for key, value in self._features.items()}
            self._tail = last
        return self._tail


def _last(value: Any) -> Any:
    """The last frame of a feature, copied so that the batch it belonged to can be freed."""
    if isinstance(value, torch.Tensor):
        return value[-1:].clone()
    if isinstance(value, list | tuple):
        return type(value)(_last(v) for v in value)
    return value


def _describe(frames: torch.Tensor) -> str:
    return f"{len(frames)} frames of {frames.shape[3]}×{frames.shape[2]}"


class Metric(ABC):
    """Streams batches of one clip and keeps one value per frame or pair.

    Life cycle: ``setup(device)`` → for each clip: ``update`` for its batches in order, ``compute``, ``reset``. Values
    do not depend on how the clip is cut into batches. Subclasses write ``score``.

    Args:
        info: the catalogue's facts; subclasses take the keys of ``info.params`` as further arguments.
    """

    def __init__(self, info: MetricInfo) -> None:
        self.info = info
        self.device = torch.device("cpu")
        self.reset()

    def setup(self, device: torch.device | str) -> None:
        """Prepare for ``device``; metrics with weights load them here."""
        self.device = torch.device(device)

    def reset(self) -> None:
        """Forget the clip."""
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
        if self.info.level == "frame":
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
        excluded = tuple(
            Excluded(i, self.why_excluded(v))
            for i, v in zip(self._index, self._values, strict=True)
            if not -float("inf") < v < float("inf")
        )
        left_out = {e.index for e in excluded}
        values = tuple(None if i in left_out else v for i, v in zip(self._index, self._values, strict=True))
        value, n, reason = finite_mean(values, excluded)
        if self._without_gt:
            reason = "no ground truth"
        elif self._seen < self.info.min_frames:
            reason = f"needs at least {self.info.min_frames} frames, got {self._seen}"
        return MetricResult(self.info.level, values, tuple(self._index), value, n, reason, excluded)


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
