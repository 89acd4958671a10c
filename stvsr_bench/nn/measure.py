"""Time and peak memory of a piece of work, synchronised with the device that does it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import torch


class StageClock:
    """Adds up the wall time and the peak memory of the blocks it encloses.

    Work on an accelerator is waited for at both ends of a block, so that what one block started is not paid by another.

    Args:
        device: where the work runs.

    Attributes:
        seconds: wall time of all blocks.
        peak_bytes: most memory allocated on the device during a block; ``None`` where the device does not count it.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = 0.0
        self.peak_bytes: int | None = None
        self._start = 0.0

    def __enter__(self) -> StageClock:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
        self._start = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            self.peak_bytes = max(self.peak_bytes or 0, torch.cuda.max_memory_allocated(self.device))
        self.seconds += time.perf_counter() - self._start

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the current block for work that is not its own, for example reading what an earlier stage makes."""
        self.__exit__(None, None, None)
        try:
            yield
        finally:
            self.__enter__()
