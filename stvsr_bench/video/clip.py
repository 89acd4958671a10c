"""The clip: a lazy sequence of uint8 RGB frames, and the views that protocols make of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import torch

Frames = torch.Tensor
"""uint8 RGB frames ``(T, 3, H, W)`` on the CPU."""


class Clip(ABC):
    """A lazy sequence of uint8 RGB frames ``(3, H, W)`` with frame rate and name.

    ``clip[a:b]`` decodes and returns ``(T, 3, H, W)``; ``clip.select(indices)`` is a lazy view. Reading is
    thread-safe; memory does not grow with the number of frames.

    Attributes:
        name: the clip's name, for messages and results.
        height: rows of every frame.
        width: columns of every frame.
        frame_rate: frames per second, exact; ``None`` where the source does not say.
        notes: what a user should know about how the pixels were read («16-bit samples became round(x/257)»).
    """

    name: str
    height: int
    width: int
    frame_rate: Fraction | None = None
    notes: tuple[str, ...] = ()

    @abstractmethod
    def __len__(self) -> int:
        """Number of frames."""

    @abstractmethod
    def read(self, indices: Sequence[int]) -> Frames:
        """Decode the frames at ``indices`` (each in ``0 … len - 1``, any order), ``(len(indices), 3, H, W)`` uint8.

        Raises:
            ClipError: a frame cannot be read or has another size.
        """

    def __getitem__(self, key: slice | int) -> Frames:
        """``clip[a:b]`` as ``(T, 3, H, W)``; ``clip[i]`` as ``(3, H, W)``."""
        if isinstance(key, slice):
            return self.read(range(*key.indices(len(self))))
        index = key + len(self) if key < 0 else key
        if not 0 <= index < len(self):
            raise IndexError(f"clip '{self.name}': frame {key} of {len(self)}")
        return self.read([index])[0]

    def blocks(self, size: int) -> Iterator[Frames]:
        """Yield the clip in order, ``size`` frames at a time."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def select(self, indices: Sequence[int], frame_rate: Fraction | None = None) -> Clip:
        """Return the lazy clip of the frames at ``indices``, at another frame rate."""
        return SelectedClip(self, indices, frame_rate)

    def files(self) -> Sequence[str]:
        """Paths of the files the pixels come from, where there are any (for quick «has it changed» checks)."""
        return ()

    @property
    def key(self) -> str:
        """Text that, together with the files' state, fixes the pixels (views add what they do)."""
        return type(self).__name__


class ArrayClip(Clip):
    """A clip held in memory.

    Args:
        frames: uint8 RGB ``(T, 3, H, W)``.
        name: the clip's name.
        frame_rate: frames per second, or ``None``.
    """

    def __init__(self, frames: Frames, name: str = "array", frame_rate: Fraction | None = None) -> None:
        if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[1] != 3 or len(frames) == 0:
            from stvsr_bench.core.errors import ClipError

            raise ClipError(
                f"clip '{name}' cannot be made from this tensor",
                got=f"shape {tuple(frames.shape)}, {frames.dtype}",
                accepted="uint8 RGB (T, 3, H, W) with at least one frame",
            )
        self.frames = frames
        self.name = name
        self.height, self.width = int(frames.shape[2]), int(frames.shape[3])
        self.frame_rate = frame_rate

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, indices: Sequence[int]) -> Frames:
        return self.frames[list(indices)]


class SelectedClip(Clip):
    """The frames of ``source`` at ``indices``, lazily."""

    def __init__(self, source: Clip, indices: Sequence[int], frame_rate: Fraction | None = None) -> None:
        self.source = source
        self.indices = tuple(indices)
        self.name = source.name
        self.height, self.width = source.height, source.width
        self.frame_rate = frame_rate if frame_rate is not None else source.frame_rate
        self.notes = source.notes

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, indices: Sequence[int]) -> Frames:
        return self.source.read([self.indices[i] for i in indices])

    def files(self) -> Sequence[str]:
        return self.source.files()

    @property
    def key(self) -> str:
        return f"{self.source.key}|select{list(self.indices)}"


class MappedClip(Clip):
    """``function`` applied lazily to batches of ``source``'s frames.

    Args:
        source: the clip read from.
        function: pure function of uint8 frames ``(T, 3, H, W)`` to uint8 ``(T, 3, H', W')``, frame by frame.
        size: ``(H', W')``.
        key: text that names the function and its settings.
    """

    def __init__(self, source: Clip, function: Callable[[Frames], Frames], size: tuple[int, int], key: str) -> None:
        self.source = source
        self.function = function
        self.height, self.width = size
        self.name = source.name
        self.frame_rate = source.frame_rate
        self.notes = source.notes
        self._key = key

    def __len__(self) -> int:
        return len(self.source)

    def read(self, indices: Sequence[int]) -> Frames:
        return self.function(self.source.read(indices))

    def files(self) -> Sequence[str]:
        return self.source.files()

    @property
    def key(self) -> str:
        return f"{self.source.key}|{self._key}"
