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

from stvsr_bench.video.clip import Clip, Frames
from stvsr_bench.video.decoders import Decoder, DecordDecoder, DecordError, PyAVDecoder, index_video
from stvsr_bench.video.images import ImageArray

VIDEO_EXTS = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv",
    ".y4m",
)  # fmt: skip
"""Endings of the files that count as videos (any case)."""

_BEHIND_BYTES = 32 << 20
"""Frames kept when a file is read backwards, so that a group of pictures is not decoded again for each of them."""

_log = logging.getLogger(__name__)


class VideoFileClip(Clip):
    """The frames of one video file, decoded when they are read: by decord, or by PyAV where decord cannot.

    Both give the same pixels. PyAV also does all seeking, which decord does inexactly. PyAV reads the whole file, and
    the reason is logged and noted, where decord is absent, refuses the file, counts other frames, gives another first
    frame, fails at a frame, or is known to differ (more than 8 bit, alpha, codecs not specified to the bit). YUV is
    converted by FFmpeg with the matrix and range that the file states, else BT.601 in studio range. Frame k is the
    k-th frame in display order, whatever order frames are read in.

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
        self._behind: dict[int, ImageArray] = {}
        self._next = 0

    def _check_process(self) -> None:
        # A decoder does not survive fork; the decoders module keeps the parent's from being freed here.
        if self._process != os.getpid():
            self._reset()

    def _free(self) -> None:
        if self._decoder is not None:
            self._decoder.close()
        self._decoder = None
        self._behind = {}
        self._next = 0

    def _frame(self, index: int) -> ImageArray:
        if index in self._behind:
            return self._behind[index]
        if index < self._next - 1:
            capacity = max(_BEHIND_BYTES // (3 * self.height * self.width), 1)
            start = max(self._index.key_at(index), index - capacity + 1)
            self._behind = {}
            self._behind = {i: self._decode(i) for i in range(start, index + 1)}
            return self._behind[index]
        self._behind = {}
        return self._decode(index)

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
