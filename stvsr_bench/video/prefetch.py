"""Read-ahead and a small cache in front of any clip, so that views that share frames decode each of them once."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import numpy as np
import torch

from stvsr_bench.video.clip import Clip, Frames
from stvsr_bench.video.files import VideoFileClip

_MOST_FRAMES = 256  # kept, however small they are: views read a few blocks apart, never a whole clip


class PrefetchClip(Clip):
    """``source`` with decoded frames kept for a while and the following ones decoded ahead in background threads.

    Give one instance to all views of a clip (the LQ made from it, and the GT to score against). A read that goes on
    where an earlier one was, in whatever view, starts the frames behind it. At most ``budget_bytes`` of frames are
    kept, plus the few being decoded and those returned. An error belongs to its frame: it surfaces at the read that
    asks for that frame, not before.

    Args:
        source: the clip to read.
        workers: decoding threads; a video file is decoded by one, in order.
        budget_bytes: decoded frames kept, in bytes; two frames are kept at least.
    """

    def __init__(self, source: Clip, workers: int = 2, budget_bytes: int = 64 << 20) -> None:
        self.source = source
        self.name = source.name
        self.height, self.width = source.height, source.width
        self.frame_rate = source.frame_rate
        self._workers = 1 if isinstance(source, VideoFileClip) else max(workers, 1)
        self._capacity = max(min(budget_bytes // (3 * self.height * self.width), _MOST_FRAMES), 2)
        # The larger part stays for frames already read: the second view reads them a little later.
        self._ahead = max(min(self._capacity // 4, 8 * self._workers), 1)
        self._pool: ThreadPoolExecutor | None = None
        self._reset()

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]
        """The source's notes, which may grow while it is read."""
        return self.source.notes

    def __len__(self) -> int:
        return len(self.source)

    def read(self, indices: Sequence[int]) -> Frames:
        if self._process != os.getpid():
            self._reset()
        # Copied by NumPy: torch would share so small a copy among threads, whose waiting takes the decoders' time.
        frames = np.empty((len(indices), 3, self.height, self.width), np.uint8)
        for position, index in enumerate(indices):
            last = position == len(indices) - 1
            following = self._beyond(indices) if last else indices[position + 1 : position + 1 + self._ahead]
            future = self._request(index, following)
            try:
                frames[position] = future.result().numpy()
            except BaseException:
                with self._lock:
                    self._cache.pop(index, None)
                raise
        return torch.from_numpy(frames)

    def files(self) -> Sequence[str]:
        return self.source.files()

    @property
    def key(self) -> str:
        return self.source.key

    def close(self) -> None:
        """Drop the kept frames and end the threads; a later read starts them again."""
        with self._lock:
            pool, self._pool = self._pool, None
            self._cache.clear()
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_lock", "_cache", "_pool")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def _reset(self) -> None:
        # Also after fork: the parent's threads do not exist in the child.
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._cache: OrderedDict[int, Future[Frames]] = OrderedDict()
        self._pool = None

    def _beyond(self, indices: Sequence[int]) -> Sequence[int]:
        """Return what is likely read after ``indices``: nothing, unless they go forward from where a read was."""
        first, last = indices[0], indices[-1]
        step = last - indices[-2] if len(indices) > 1 else 1
        with self._lock:
            goes_on = first == 0 or len(indices) > 1 or first in self._cache or first - 1 in self._cache
        if step < 1 or not goes_on:
            return ()
        return range(last + step, len(self), step)[: self._ahead]

    def _request(self, index: int, following: Sequence[int]) -> Future[Frames]:
        """Return the future of frame ``index`` and start those ``following``."""
        with self._lock:
            future = self._start(index)
            for ahead in following:
                self._start(ahead)
            while len(self._cache) > self._capacity:
                # Never cancelled: another thread may be waiting for it.
                self._cache.popitem(last=False)
        return future

    def _start(self, index: int) -> Future[Frames]:
        future = self._cache.get(index)
        if future is None:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="prefetch")
            future = self._cache[index] = self._pool.submit(self._decode, index)
        self._cache.move_to_end(index)
        return future

    def _decode(self, index: int) -> Frames:
        return self.source.read([index])[0]
