"""Hashes of clips taken while they are read, so that no pixel is decoded twice for its hash."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import torch

from stvsr_bench.core.hashing import clip_hash, digest, frame_digest
from stvsr_bench.video.clip import Clip, Frames
from stvsr_bench.video.images import ImageArray


def digest_of(frame: torch.Tensor | ImageArray) -> bytes:
    """Return the digest of one uint8 RGB frame ``(3, H, W)``."""
    # OpenCV joins the planes ten times as fast as a permuted copy, which would take longer than the hash itself.
    pixels: ImageArray = cv2.merge([np.ascontiguousarray(plane) for plane in np.asarray(frame)])
    return frame_digest(pixels.data.cast("B"), pixels.shape[0], pixels.shape[1])


class HashedClip(Clip):
    """A clip that remembers the digest of every frame that passes through it, in whatever order it is read."""

    def __init__(self, source: Clip) -> None:
        self.source = source
        self.name = source.name
        self.height, self.width = source.height, source.width
        self.frame_rate = source.frame_rate
        self.notes = source.notes
        self._digests: dict[int, bytes] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.source)

    def read(self, indices: Sequence[int]) -> Frames:
        frames = self.source.read(indices)
        for index, frame in zip(indices, frames, strict=True):
            if index not in self._digests:
                value = digest_of(frame)
                with self._lock:
                    self._digests[index] = value
        return frames

    def files(self) -> Sequence[str]:
        return self.source.files()

    @property
    def key(self) -> str:
        return self.source.key

    def pixel_hash(self, frames: Iterable[int] | None = None) -> str:
        """Return the hash of ``frames`` (default all), reading those that nobody has read yet."""
        return clip_hash(self.digests(range(len(self)) if frames is None else frames))

    def digests(self, frames: Iterable[int]) -> list[bytes]:
        """Return the digests of ``frames``, reading those that nobody has read yet."""
        wanted = list(frames)
        for index in wanted:
            if index not in self._digests:
                self.read([index])
        return [self._digests[i] for i in wanted]


def files_state(*clips: Clip | None) -> str | None:
    """Return a digest of path, size and modification time of the files behind ``clips``.

    While it stays the same, hashes recorded earlier still hold and nothing needs decoding. ``None`` where a clip has
    no files.
    """
    entries: list[list[str | int]] = []
    for clip in clips:
        if clip is None:
            continue
        files = clip.files()
        if not files:
            return None
        for file in files:
            try:
                state = os.stat(file)
            except OSError:
                return None
            entries.append([os.path.abspath(file), state.st_size, state.st_mtime_ns])
        entries.append([clip.key])
    return digest(entries)
