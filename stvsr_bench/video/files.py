"""A video file as a clip."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stvsr_bench.core.errors import ClipError
from stvsr_bench.core.spool import Spool
from stvsr_bench.video.clip import Clip, Frames
from stvsr_bench.video.decoders import Decoder, DecordDecoder, DecordError, PyAVDecoder, index_video
from stvsr_bench.video.images import ImageArray

_BEHIND_BYTES = 8 << 20
"""Of a group of pictures read backwards, what is kept in memory; a larger one goes through a temporary file."""

_JUMP = 16
"""A read so many frames ahead may begin a backward pass, as one of the last frame may."""

_log = logging.getLogger(__name__)


class VideoFileClip(Clip):
    """The frames of one video file, decoded when they are read: by decord, or by PyAV where decord cannot.

    Both give the same pixels. PyAV also does all seeking, which decord does inexactly. PyAV reads the whole file, and
    the reason is logged and noted, where decord is absent, refuses the file, counts other frames, gives another first
    frame, fails at a frame, or is known to differ (more than 8 bit, alpha, codecs that are not specified to the bit).
    YUV is converted by FFmpeg with the matrix and range that the file states, else BT.601 in studio range. Frame k is
    the k-th frame in display order, whatever order it is read in; read backwards, each group of pictures is decoded
    once.

    The decoder is opened by the process that reads, and freed after the last frame and by :meth:`close`.

    Args:
        path: the file.
        name: the clip's name; default: the file's without its ending.

    Raises:
        ClipError: the file is absent, empty, truncated or damaged, or holds no video.
    """

    def __init__(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        self.path = Path(path)
        self.name = name if name is not None else self.path.stem
        self._index = index_video(self.path)
        self.height, self.width = self._index.height, self._index.width
        self.frame_rate = self._index.frame_rate
        self.notes = self._index.notes
        self._reset()
        self._use_decord = True
        reason = self._index.decord or self._compare_first_frame()
        if reason is not None:
            self._leave_decord(reason, logging.INFO)

    def __len__(self) -> int:
        return self._index.count

    def read(self, indices: Sequence[int]) -> Frames:
        self._check_process()
        frames = np.empty((len(indices), 3, self.height, self.width), np.uint8)
        with self._lock:
            for position, index in enumerate(indices):
                frames[position] = self._frame(index).transpose(2, 0, 1)
        return torch.from_numpy(frames)

    def files(self) -> Sequence[str]:
        return (str(self.path),)

    @property
    def key(self) -> str:
        return "video@1"

    def close(self) -> None:
        """Free the decoder; a later read opens it again."""
        self._check_process()
        with self._lock:
            self._free()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_lock", "_decoder", "_behind")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._decoder: Decoder | None = None
        self._behind = _Group(self.name, range(0), self.height, self.width)
        self._next = 0

    def _check_process(self) -> None:
        # A decoder does not survive fork; the decoders module keeps the parent's from being freed here.
        if self._process != os.getpid():
            self._reset()

    def _free(self) -> None:
        if self._decoder is not None:
            self._decoder.close()
        self._decoder = None
        self._behind.close()
        self._next = 0

    def _frame(self, index: int) -> ImageArray:
        if index in self._behind:
            return self._behind.image(index)
        last = index == len(self) - 1 and index > self._next
        if self._next <= index < self._next + _JUMP and not last:
            return self._decode(index)
        # Backwards, or ahead to where a backward pass begins: the group of pictures is decoded once and kept.
        start = self._index.key_at(index)
        if start < self._next <= index:
            start = self._next
        self._behind.close()
        if start > 0 and (self._decoder is None or not self._decoder.reaches(start)):
            if self._decoder is not None:
                self._decoder.close()
            self._decoder = PyAVDecoder(self._index)
        group = _Group(self.name, range(start, index + 1), self.height, self.width)
        for number in range(start, index + 1):
            group.add(number, self._decode(number))
        self._behind = group
        return group.image(index)

    def _decode(self, index: int) -> ImageArray:
        decoder = self._decoder
        # Forward from the start decord decodes; everything that needs seeking, PyAV.
        if decoder is None or not decoder.reaches(index) or (index == 0 and self._use_decord):
            if decoder is not None:
                decoder.close()
            decoder = self._decoder = self._open(index)
        try:
            image = decoder.read(index)
        except DecordError as error:
            self._leave_decord(str(error), logging.WARNING)
            decoder = self._decoder = PyAVDecoder(self._index)
            image = decoder.read(index)
        self._next = index + 1
        if self._next == len(self):
            decoder.close()
            self._decoder = None
        return image

    def _open(self, index: int) -> Decoder:
        if self._use_decord:
            try:
                forward = DecordDecoder(self._index)
                if forward.reaches(index):
                    return forward
                forward.close()
            except DecordError as error:
                self._leave_decord(str(error), logging.WARNING)
        return PyAVDecoder(self._index)

    def _compare_first_frame(self) -> str | None:
        """Return why decord cannot be used for this file, judged by opening it and decoding one frame."""
        exact = PyAVDecoder(self._index)
        try:
            reader = DecordDecoder(self._index)
            same = np.array_equal(reader.read(0), exact.read(0))
            reader.close()
        except DecordError as error:
            return str(error)
        finally:
            exact.close()
        return None if same else "decord gives another first frame"

    def _leave_decord(self, reason: str, level: int) -> None:
        self._use_decord = False
        self.notes = (*self.notes, f"decoded with PyAV: {reason}")
        _log.log(level, "clip '%s' (%s): PyAV decodes it: %s", self.name, self.path, reason)


class _Group:
    """Decoded frames of one group of pictures: in memory where they are few, else in a temporary file."""

    def __init__(self, name: str, numbers: range, height: int, width: int) -> None:
        self._name, self._numbers, self._shape = name, numbers, (height, width, 3)
        self._images: dict[int, ImageArray] = {}
        self._spool: Spool | None = None
        size = height * width * 3
        try:
            if len(numbers) * size > _BEHIND_BYTES:
                self._spool = Spool(size)
        except OSError as error:
            raise self._no_room(error) from error

    def __contains__(self, number: int) -> bool:
        return number in self._numbers

    def add(self, number: int, image: ImageArray) -> None:
        """Keep a frame ``(H, W, 3)``."""
        if self._spool is None:
            self._images[number] = image
            return
        try:
            self._spool.put(number - self._numbers.start, np.ascontiguousarray(image).data.cast("B"))
        except OSError as error:
            raise self._no_room(error) from error

    def image(self, number: int) -> ImageArray:
        """Return a kept frame."""
        if self._spool is None:
            return self._images[number]
        image = np.empty(self._shape, np.uint8)
        self._spool.get(number - self._numbers.start, image.data.cast("B"))
        return image

    def close(self) -> None:
        """Free the frames."""
        self._numbers, self._images = range(0), {}
        if self._spool is not None:
            self._spool.close()

    def _no_room(self, error: OSError) -> ClipError:
        return ClipError(
            f"clip '{self._name}': frames read backwards cannot be kept in a temporary file",
            got=error.strerror or str(error),
            accepted=f"{len(self._numbers) * self._shape[0] * self._shape[1] * 3 / 2**20:.0f} MiB of free space",
            action="free space, or set TMPDIR to a larger disk",
        )
