"""A clip over blocks that are being made right now, for example by the stage before."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
import torch

from stvsr_bench.core.errors import ClipError, ResultError
from stvsr_bench.core.spool import Spool
from stvsr_bench.video.clip import Clip, Frames


class StreamClip(Clip):
    """Frames taken from an iterator of blocks when they are read; memory does not grow with their number.

    Read forward, at least the last ``window_bytes`` of frames stay readable. Going further back needs ``spool``: all
    frames then pass through an unnamed temporary file (raw samples, lossless), and any order is fine. Blocks are
    made in the thread that reads. An error of the iterator surfaces at the read that needed its block, and at every
    later one.

    Args:
        blocks: uint8 RGB blocks ``(T, 3, H, W)`` in order, any number of frames each.
        length: frames in all.
        height: rows.
        width: columns.
        name: the clip's name.
        frame_rate: frames per second, or ``None``.
        spool: keep all frames in a temporary file.
        spool_folder: where that file lies; default: the system's temporary folder.
        window_bytes: frames kept without ``spool``, in bytes; the newest block is always kept whole.
    """

    def __init__(
        self,
        blocks: Iterator[Frames],
        length: int,
        height: int,
        width: int,
        name: str = "stream",
        frame_rate: Fraction | None = None,
        *,
        spool: bool = False,
        spool_folder: str | os.PathLike[str] | None = None,
        window_bytes: int = 64 << 20,
    ) -> None:
        self.name = name
        self.height, self.width = height, width
        self.frame_rate = frame_rate
        self._blocks = iter(blocks)
        self._length = length
        self._made = 0
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self._frame_bytes = 3 * height * width
        self._capacity = max(window_bytes // self._frame_bytes, 1)
        self._window: deque[tuple[int, Frames]] = deque()
        self._spool: Spool | None = None
        if spool:
            try:
                self._spool = Spool(self._frame_bytes, spool_folder)
            except OSError as error:
                raise self._spool_error(error) from error

    def __len__(self) -> int:
        return self._length

    def read(self, indices: Sequence[int]) -> Frames:
        frames = np.empty((len(indices), 3, self.height, self.width), np.uint8)
        with self._lock:
            # In time order, so that one request may ask for its frames in any order.
            for position, index in sorted(enumerate(indices), key=lambda pair: pair[1]):
                while index >= self._made:
                    self._pull()
                if self._spool is not None:
                    self._spool.get(index, frames[position].data.cast("B"))
                else:
                    frames[position] = self._recall(index).numpy()
        return torch.from_numpy(frames)

    def close(self) -> None:
        """Stop the iterator and free the frames; reading is over."""
        with self._lock:
            close = getattr(self._blocks, "close", None)
            if close is not None:
                close()
            self._window.clear()
            if self._spool is not None:
                self._spool.close()
            if self._failure is None:
                self._failure = ClipError(f"clip '{self.name}' is closed")

    def _pull(self) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            block = self._checked(next(self._blocks, None))
            if self._spool is not None:
                self._store(self._spool, block)
            else:
                self._window.append((self._made, block))
                while self._made + len(block) - self._window[0][0] - len(self._window[0][1]) >= self._capacity:
                    self._window.popleft()
            self._made += len(block)
            if self._made == self._length:
                # Lets a generator run to its end, where it may check and report.
                self._check_end(next(self._blocks, None))
        except BaseException as error:
            self._failure = error
            raise

    def _checked(self, block: Frames | None) -> Frames:
        if block is None:
            raise ClipError(
                f"clip '{self.name}': its frames ended early",
                got=f"{self._made} frames",
                accepted=f"{self._length} frames",
            )
        if block.dtype != torch.uint8 or block.ndim != 4 or tuple(block.shape[1:]) != (3, self.height, self.width):
            raise ClipError(
                f"clip '{self.name}': block at frame {self._made} has another form",
                got=f"shape {tuple(block.shape)}, {block.dtype}",
                accepted=f"uint8 RGB (T, 3, {self.height}, {self.width})",
            )
        if self._made + len(block) > self._length:
            self._check_end(block)
        return block

    def _check_end(self, block: Frames | None) -> None:
        if block is not None and len(block) > 0:
            raise ClipError(
                f"clip '{self.name}': more frames came than were announced",
                got=f"at least {self._made + len(block)} frames",
                accepted=f"{self._length} frames",
            )

    def _recall(self, index: int) -> Frames:
        for start, block in self._window:
            if start <= index < start + len(block):
                return block[index - start]
        raise ClipError(
            f"clip '{self.name}': frame {index} has passed",
            got=f"a read of frame {index} after frame {self._made - 1} was made",
            accepted=f"frames from {self._window[0][0]} on" if self._window else "no frame: the clip is closed",
            action="open the stream with spool=True to read it in any order",
        )

    def _store(self, spool: Spool, block: Frames) -> None:
        try:
            spool.put(self._made, block.contiguous().cpu().numpy().data.cast("B"))
        except OSError as error:
            raise self._spool_error(error) from error

    def _spool_error(self, error: OSError) -> ResultError:
        return ResultError(
            f"clip '{self.name}': its frames cannot be kept in a temporary file",
            got=error.strerror or str(error),
            accepted=f"{self._length * self._frame_bytes / 2**20:.0f} MiB of free space",
            action="free space, or set TMPDIR to a larger disk",
        )
