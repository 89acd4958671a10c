"""A small pipeline: blocks flow from one thread to the next through a bounded queue."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Stage(Generic[Item]):
    """Runs ``work`` on every item in a thread of its own, in order; at most ``depth`` items wait.

    An error in ``work`` is raised by the next ``put`` or by ``close``; items after it are dropped.

    Args:
        work: called with each item.
        depth: how many items may wait; 0 runs ``work`` in the caller's thread.
    """

    def __init__(self, work: Callable[[Item], None], depth: int) -> None:
        self._work = work
        self._error: BaseException | None = None
        self._queue: queue.Queue[Item | None] | None = None
        if depth:
            self._queue = queue.Queue(depth)
            self._thread = threading.Thread(target=self._loop, daemon=True)
            self._thread.start()

    def _loop(self) -> None:
        assert self._queue is not None
        while (item := self._queue.get()) is not None:
            if self._error is None:
                try:
                    self._work(item)
                except BaseException as error:  # noqa: BLE001 (carried to the caller's thread)
                    self._error = error

    def put(self, item: Item) -> None:
        """Hand over an item, waiting while the queue is full."""
        if self._queue is None:
            self._work(item)
            return
        self._raise()
        self._queue.put(item)

    def close(self, *, abandon: bool = False) -> None:
        """Wait until every item is done; with ``abandon`` errors are dropped."""
        if self._queue is not None:
            self._queue.put(None)
            self._thread.join()
            self._queue = None
        if not abandon:
            self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
