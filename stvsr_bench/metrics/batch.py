"""Consecutive frames of one clip, restored and true, with the features that several metrics share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal, TypeVar

import torch

from stvsr_bench.core.errors import MetricError
from stvsr_bench.core.hashing import clip_hash
from stvsr_bench.metrics.feature_store import FeatureStore
from stvsr_bench.video.color import rgb_to_y_bt601
from stvsr_bench.video.hashed import digest_of

Side = Literal["pred", "gt", "both"]
OneSide = Literal["pred", "gt"]
T = TypeVar("T")
Maps = list[torch.Tensor]
"""A feature that may be stored: tensors with one entry for each frame or pair in front."""


BATCH_PIXELS = 1_000_000
"""Pixels that are scored at once: what metrics hold of a frame (feature maps) is many times its size."""


def frames_at_once(height: int, width: int) -> int:
    """Return how many frames of a size make a batch; no value depends on it, memory does.

    >>> frames_at_once(480, 720), frames_at_once(2160, 3840)
    (2, 1)
    """
    return max(1, BATCH_PIXELS // (height * width))


class FrameBatch:
    """Consecutive scored frames of one clip, with the features that several metrics share.

    Args:
        pred: restored frames, uint8 RGB ``(T, 3, H, W)``.
        gt: ground truth of the same shape, or ``None`` where there is none.
        index: the frames' numbers in the output clip, strictly increasing, one for each frame.
        device: where the arithmetic happens.
        clip: the clip's name, for messages.
        store: keeps features of the ground truth on disk, or ``None``.
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
        store: FeatureStore | None = None,
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
        self.device = torch.device(device)
        self.store = store
        self.opens = opens
        self.height, self.width = int(pred.shape[2]), int(pred.shape[3])
        self._pred, self._gt = pred, gt
        self._features: dict[tuple[Side, str], Any] = {}
        self._pair_features: dict[tuple[Side, str, bool], Any] = {}
        self._tail: FrameBatch | None = None

    def __len__(self) -> int:
        return len(self.index)

    @property
    def has_gt(self) -> bool:
        """Whether the batch carries ground truth."""
        return self._gt is not None

    # ---------------------------------------------------------------- features of frames

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

    def maps(self, side: OneSide, key: str, function: Callable[[FrameBatch], Maps]) -> Maps:
        """Return the feature ``key`` of ``side`` as :meth:`feature` does; that of the ground truth may come from disk.

        Args:
            side: whose feature.
            key: name and version (``alexnet.lpips@1``) that, with the pixels, fix the value to the last bit.
            function: makes the tensors of a batch, one entry for each frame in front, without using another frame.
        """

        def make() -> Maps:
            if side == "pred" or self.store is None:
                return function(self)
            return self.store.get(key, self.digests(), lambda missing: function(self._part(missing)), self.device)

        return self.feature(side, key, make)

    def digests(self) -> list[bytes]:
        """Digests of the ground-truth frames, by which their stored features are found."""
        return self.feature("gt", "digest", lambda: [digest_of(frame) for frame in self._truth().cpu()])

    def _part(self, chosen: Sequence[int]) -> FrameBatch:
        """The frames at ``chosen`` as a batch without features."""
        if len(chosen) == len(self):
            return self
        gt = None if self._gt is None else self._gt[list(chosen)]
        return FrameBatch(self._pred[list(chosen)], gt, [self.index[i] for i in chosen], self.device, self.clip)

    # ---------------------------------------------------------------- features of pairs

    def joined(self, previous: FrameBatch | None, get: Callable[[FrameBatch], torch.Tensor]) -> torch.Tensor:
        """``get`` of the frame before this batch, where there is one, and of the batch's own frames."""
        return get(self) if previous is None else torch.cat([get(previous), get(self)])

    def pair_feature(self, previous: FrameBatch | None, side: Side, key: str, function: Callable[[], T]) -> T:
        """Return a feature of the pairs (previous, first), (first, second), …, computed once.

        Args:
            previous: the frame before this batch as a batch of one, or ``None``; then there is one pair fewer.
            side: whose feature.
            key: name that fixes how the feature is made.
            function: makes the value, one entry for each pair.
        """
        place = (side, key, previous is not None)
        if place not in self._pair_features:
            self._pair_features[place] = function()
        value: T = self._pair_features[place]
        return value

    def pair_maps(
        self,
        previous: FrameBatch | None,
        side: OneSide,
        key: str,
        function: Callable[[Sequence[int]], Maps],
        device: torch.device | str | None = None,
    ) -> Maps:
        """Return the tensors of the pairs as :meth:`pair_feature` does; those of the ground truth may come from disk.

        Args:
            previous: as in :meth:`pair_feature`.
            side: whose feature.
            key: name and version that, with the pixels of both frames, fix the value to the last bit.
            function: makes the tensors of the pairs at some positions, one entry for each in front.
            device: where it makes them and they are wanted; default: the batch's.
        """
        count = len(self) - (previous is None)

        def make() -> Maps:
            if side == "pred" or self.store is None or not count:
                return function(range(count))
            frames = [*(previous.digests() if previous else ()), *self.digests()]
            digests = [bytes.fromhex(clip_hash(pair)) for pair in pairwise(frames)]
            return self.store.get(key, digests, function, torch.device(device or self.device))

        return self.pair_feature(previous, side, key, make)

    # ---------------------------------------------------------------- pixels

    def u8(self, side: OneSide) -> torch.Tensor:
        """The frames as given, uint8 RGB ``(T, 3, H, W)``, on the batch's device."""
        frames = self._pred if side == "pred" else self._truth()
        return self.feature(side, "u8", lambda: frames.to(self.device))

    def _truth(self) -> torch.Tensor:
        if self._gt is None:
            raise MetricError(f"clip '{self.clip}': a metric asked for ground truth where there is none")
        return self._gt

    def rgb(self, side: OneSide) -> torch.Tensor:
        """The frames as float32 RGB in [0, 1], ``(T, 3, H, W)``."""
        return self.feature(side, "rgb", lambda: self.u8(side).float().div_(255))

    def y(self, side: OneSide) -> torch.Tensor:
        """Y of MATLAB BT.601, float64 in 16 … 235, not rounded, ``(T, 1, H, W)``."""
        return self.feature(side, "y", lambda: rgb_to_y_bt601(self.u8(side).double().div_(255)).mul_(255))

    def tail(self) -> FrameBatch:
        """The last frame as a batch of one, with the features known so far: the next batch's first pair needs it."""
        if self._tail is None:
            gt = None if self._gt is None else self._gt[-1:].clone()
            self._tail = FrameBatch(self._pred[-1:].clone(), gt, self.index[-1:], self.device, self.clip, self.store)
        # another metric may have added features since
        for place in self._features.keys() - self._tail._features.keys():
            self._tail._features[place] = _last(self._features[place])
        return self._tail


def _last(value: Any) -> Any:
    """The last frame of a feature, copied so that the batch it belonged to can be freed."""
    if isinstance(value, torch.Tensor):
        return value[-1:].clone()
    if isinstance(value, list | tuple):
        if not any(isinstance(v, torch.Tensor | list | tuple) for v in value):
            return type(value)(value[-1:])  # one plain value for each frame
        return type(value)(_last(v) for v in value)
    return value


def _describe(frames: torch.Tensor) -> str:
    return f"{len(frames)} frames of {frames.shape[3]}×{frames.shape[2]}"
