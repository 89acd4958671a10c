"""What a video file holds, and the two decoders of its frames: decord, and PyAV where decord cannot."""

from __future__ import annotations

import atexit
import bisect
import itertools
import os
import statistics
import sys
import weakref
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np

from stvsr_bench.core.errors import ClipError
from stvsr_bench.video.containers import container_damage
from stvsr_bench.video.images import NOTE_ALPHA, ImageArray

# decord carries an old FFmpeg. These codecs are specified to the bit, so it decodes them like PyAV; MPEG-4 and MJPEG
# are not (one level of difference was measured), and a damaged FFV1 slice is concealed without an error.
_DECORD_CODECS = ("h264", "hevc", "vp8", "vp9")
_DECORD_CONTAINERS = ("mov,mp4", "matroska")
_DECORD_STRIDE = 16


# Tags that are not UTF-8 must not keep a video from being read. PyAV 19 has no such option any more.
PYAV_19 = int(av.__version__.split(".")[0]) >= 19
_OPEN_OPTIONS = {} if PYAV_19 else {"metadata_errors": "ignore"}


def open_container(path: Path) -> Any:
    """Open a video file for reading with PyAV."""
    return av.open(str(path), **_OPEN_OPTIONS)


@dataclass(frozen=True)
class VideoIndex:
    """What one pass over the packets of a video file tells.

    Attributes:
        path: the file.
        count: frames, counted in packets or by decoding, never taken from the header.
        height: rows as stored.
        width: columns as stored.
        frame_rate: average frames per second, exact.
        times: time stamp of every frame in display order; ``None`` where the file has none to seek by.
        keys: numbers of the frames at which decoding can begin.
        opaque: whether the pixel format has no alpha.
        decord: why decord must not read this file; ``None`` where it may.
        notes: what a user should know.
    """

    path: Path
    count: int
    height: int
    width: int
    frame_rate: Fraction | None
    times: array[int] | None
    keys: tuple[int, ...]
    opaque: bool
    decord: str | None
    notes: tuple[str, ...]

    def key_at(self, frame: int) -> int:
        """Number of the last frame at or before ``frame`` at which decoding can begin."""
        return self.keys[max(bisect.bisect_right(self.keys, frame) - 1, 0)]


class Decoder(Protocol):
    """Decodes single frames; cheap when frames are asked for in order."""

    def reaches(self, frame: int) -> bool:
        """Whether this decoder, as it stands, can decode ``frame``."""
        ...

    def read(self, frame: int) -> ImageArray:
        """Return frame ``frame`` as uint8 RGB ``(H, W, 3)``."""
        ...

    def close(self) -> None:
        """Free the decoder."""
        ...


_open: weakref.WeakSet[Decoder] = weakref.WeakSet()
_abandoned: list[Decoder] = []
_forked = False
_converted = False  # a frame was converted to RGB in this process
_cannot_convert = False  # PyAV 19 converts in threads that a forked child does not have: it would wait for ever


def _after_fork() -> None:
    # The threads of the parent's decoders do not exist here. Freeing such a decoder, be it by the garbage collector,
    # would wait for them for ever, so the child keeps them all.
    global _open, _forked, _cannot_convert
    _abandoned.extend(_open)
    _open = weakref.WeakSet()
    _forked = "decord" in sys.modules
    _cannot_convert = PYAV_19 and _converted


@atexit.register
def _close_all() -> None:
    # A decord reader that outlives the interpreter can abort the process: its threads run on while its library ends.
    for decoder in list(_open):
        decoder.close()


os.register_at_fork(after_in_child=_after_fork)


def unreadable(path: Path, got: str) -> ClipError:
    """Return the error for a video file that is not whole or not understood."""
    return ClipError(
        f"cannot read the video '{path}'",
        got=got,
        accepted="a whole video file that FFmpeg can decode",
        action="copy, download or make the file again",
    )


def index_video(path: Path) -> VideoIndex:
    """Read headers and packets of a video file (nothing but the first frame is decoded where packets have times).

    Raises:
        ClipError: the file is absent, empty, truncated, damaged, or holds no video.
    """
    try:
        damage = container_damage(path)
        if damage is not None:
            raise unreadable(path, damage)
        with open_container(path) as container:
            stream = container.streams.best("video")
            if stream is None:
                raise unreadable(path, "a file without a video track")
            return _index(path, container, stream)
    except (OSError, av.error.FFmpegError) as error:
        raise unreadable(path, error.strerror or str(error)) from error


def _index(path: Path, container: Any, stream: Any) -> VideoIndex:
    packets = 0
    times: list[int | None] = []
    key_times: list[int] = []
    for packet in container.demux(stream):
        if packet.size == 0:
            continue
        packets += 1
        if packet.is_corrupt:
            raise unreadable(path, f"a damaged packet after {packets - 1} whole ones")
        if not packet.is_discard:
            times.append(packet.pts)
            if packet.is_keyframe and packet.pts is not None:
                key_times.append(packet.pts)
    stated = int(stream.frames)
    if stated > packets and "mp4" in container.format.name:
        raise unreadable(path, f"{packets} of the {stated} frames that its header states")

    with open_container(path) as again:
        first = next(again.decode(again.streams[stream.index]), None)
    if first is None:
        raise unreadable(path, "a video track with zero frames")
    known = sorted(t for t in times if t is not None)
    seekable = len(set(known)) == len(times) and first.pts == known[0] and known[0] in key_times
    count = len(times) if seekable else _count_by_decoding(path, stream.index)

    pixel = first.format
    depth = max(c.bits for c in pixel.components)
    alpha = any(c.is_alpha for c in pixel.components)
    notes: list[str] = []
    if stated and stated != count:
        notes.append(f"the header states {stated} frames, the file holds {count}")
    if depth > 8:
        notes.append(f"{depth}-bit samples ({pixel.name}) became 8 bit in the conversion to RGB")
    if alpha:
        notes.append(NOTE_ALPHA)
    if first.rotation:
        notes.append(f"the file asks players to rotate by {first.rotation} degrees; frames are read as stored")
    if first.interlaced_frame:
        notes.append("the video is interlaced; its fields were not separated")
    if seekable and _varies(known):
        notes.append("the frame rate varies; frames are taken in order and their times ignored")
    return VideoIndex(
        path=path,
        count=count,
        height=first.height,
        width=first.width,
        frame_rate=_rate(stream),
        times=array("q", known) if seekable else None,
        keys=tuple(bisect.bisect_left(known, t) for t in sorted(set(key_times))) if seekable else (0,),
        opaque=not alpha,
        decord=_why_not_decord(
            container.format.name, stream.codec_context.name, pixel.name, depth, alpha, seekable, bool(first.rotation)
        ),
        notes=tuple(notes),
    )


def _rate(stream: Any) -> Fraction | None:
    rate = stream.average_rate or stream.guessed_rate
    return plain_rate(Fraction(rate.numerator, rate.denominator)) if rate else None


def plain_rate(rate: Fraction) -> Fraction:
    """Return the rate that was meant by one read from a container.

    Matroska stores the duration of a frame in whole nanoseconds, so that 72000/1001 comes back as 21003/292. Within
    one part in a million a whole number, a whole number · 1000/1001 (NTSC) or a small fraction is taken instead.

    >>> plain_rate(Fraction(21003, 292)), plain_rate(Fraction(15, 2)), plain_rate(Fraction(1000, 67))
    (Fraction(72000, 1001), Fraction(15, 2), Fraction(1000, 67))
    """
    ntsc = Fraction(1000, 1001)
    for meant in (Fraction(round(rate)), round(rate / ntsc) * ntsc, rate.limit_denominator(12)):
        if meant > 0 and abs(meant - rate) <= rate / 1_000_000:
            return meant
    return rate


def _varies(times: list[int]) -> bool:
    steps = [b - a for a, b in itertools.pairwise(times)]
    # Containers round times (Matroska to 1 ms), so only a step that is off by half a frame counts.
    return bool(steps) and any(abs(s - m) > m / 2 for m in [statistics.median(steps)] for s in steps)


def _count_by_decoding(path: Path, stream: int) -> int:
    with open_container(path) as container:
        return sum(1 for _ in container.decode(container.streams[stream]))


def _why_not_decord(
    container: str, codec: str, pixel: str, depth: int, alpha: bool, seekable: bool, rotated: bool
) -> str | None:
    if codec not in _DECORD_CODECS:
        return f"decord is not trusted with the codec {codec}"
    if not container.startswith(_DECORD_CONTAINERS):
        return f"decord is not trusted with the container {container}"
    if depth > 8 or alpha:
        return f"decord converts the pixel format {pixel} differently"
    if not seekable:
        return "the file has no complete time stamps"
    if rotated:
        return "decord would rotate the frames"
    return None


class PyAVDecoder:
    """Exact random access by time stamps: seek to a key frame, decode forward, compare every time stamp.

    Args:
        index: what :func:`index_video` returned.
    """

    def __init__(self, index: VideoIndex) -> None:
        self._index = index
        self._container: Any = None
        self._frames: Iterator[Any] = iter(())
        self._next = 0
        _open.add(self)

    def reaches(self, frame: int) -> bool:
        """Any frame, by seeking."""
        return 0 <= frame < self._index.count

    def read(self, frame: int) -> ImageArray:
        try:
            for start in self._starts(frame):
                self._go_to(start)
                found = self._decode_until(frame)
                if found is not None:
                    return self._to_rgb(found, frame)
        except av.error.FFmpegError as error:
            self.close()
            raise self._error(frame, error.strerror or str(error)) from error
        self.close()
        raise self._error(frame, "data that do not give this frame whole")

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
        self._container = None

    def _starts(self, frame: int) -> Iterator[int]:
        """Yield where to begin, cheapest first; each next one where the one before gave no whole frame.

        A key frame need not be a clean start (open groups of pictures, gradual refresh), so earlier ones follow.
        """
        key = self._index.key_at(frame)
        if self._container is not None and key <= self._next <= frame:
            yield self._next
        yield key
        if key > 0:
            yield self._index.key_at(key - 1)
            yield 0

    def _go_to(self, start: int) -> None:
        if self._container is not None and start == self._next:
            return
        if self._container is None or self._index.times is None or start == 0:
            self.close()
            self._container = open_container(self._index.path)
            self._container.streams.best("video").thread_type = "AUTO"
        stream = self._container.streams.best("video")
        if start > 0 and self._index.times is not None:
            self._container.seek(self._index.times[start], stream=stream, backward=True, any_frame=False)
        self._frames = self._container.decode(stream)
        self._next = start if self._index.times is not None else 0

    def _decode_until(self, frame: int) -> Any:
        """Return the decoded frame; ``None`` where the decoder jumps over it, ends before it or gives it damaged."""
        times = self._index.times
        for decoded in self._frames:
            number = self._next
            if times is not None:
                if decoded.pts is None or decoded.pts > times[frame]:
                    return None
                number = bisect.bisect_left(times, decoded.pts)
                if times[number] != decoded.pts:
                    continue  # a frame that an edit list hides
            self._next = number + 1
            if number == frame:
                return None if decoded.is_corrupt else decoded
        return None

    def _to_rgb(self, decoded: Any, frame: int) -> ImageArray:
        if (decoded.height, decoded.width) != (self._index.height, self._index.width):
            raise self._error(frame, f"a frame of {decoded.width}x{decoded.height} among others")
        global _converted
        if _cannot_convert:
            raise ClipError(
                f"cannot read the video '{self._index.path}' in a forked process",
                got=f"PyAV {av.__version__}, with which the parent process has already read a video",
                accepted="a process that was spawned, or PyAV 18",
                action="start the process with multiprocessing's 'spawn'",
            )
        _converted = True
        if self._index.opaque:
            rgb: ImageArray = decoded.to_ndarray(format="rgb24")
            return rgb
        rgba = decoded.to_ndarray(format="rgba")
        if int(rgba[..., 3].min()) < 255:
            raise self._error(frame, "transparent pixels; only videos that are opaque everywhere are accepted")
        return np.ascontiguousarray(rgba[..., :3])

    def _error(self, frame: int, got: str) -> ClipError:
        return unreadable(self._index.path, f"at frame {frame} of {self._index.count}: {got}")


class DecordError(Exception):
    """Decord cannot read a file or frame; PyAV must."""


class DecordDecoder:
    """Frames by decord, forward only.

    decord's own seeking is never used: it gives other frames in open groups of pictures (the usual case in H.265 and
    not rare in H.264) and after recovery points, without an error.

    Args:
        index: what :func:`index_video` returned.

    Raises:
        DecordError: decord is not installed, refuses the file, or counts its frames differently.
    """

    def __init__(self, index: VideoIndex) -> None:
        if _forked:
            raise DecordError("decord cannot be used in a process that was forked after it was loaded")
        try:
            import decord
        except (ImportError, OSError) as error:  # OSError: its shared library does not load here
            raise DecordError(f"decord is not installed for this Python ({error})") from error
        self._failure: type[Exception] = decord.DECORDError
        try:
            # Two threads: several clips are read side by side. One repaired frame is an error, not a note on stderr.
            self._reader = decord.VideoReader(str(index.path), num_threads=2, fault_tol=1)
        except (decord.DECORDError, RuntimeError) as error:
            raise DecordError(f"decord refuses the file ({_first_line(error)})") from error
        if len(self._reader) != index.count:
            raise DecordError(f"decord counts {len(self._reader)} frames, the file holds {index.count}")
        self._next = 0
        _open.add(self)

    def reaches(self, frame: int) -> bool:
        """Whether ``frame`` lies ahead, and near enough to decode up to it."""
        return 0 <= frame - self._next <= _DECORD_STRIDE

    def read(self, frame: int) -> ImageArray:
        try:
            while True:
                image = self._reader.next()
                self._next += 1
                if self._next > frame:
                    result: ImageArray = image.asnumpy()
                    return result
        except (self._failure, StopIteration) as error:
            raise DecordError(f"decord cannot decode frame {self._next} ({_first_line(error)})") from error

    def close(self) -> None:
        self._reader = None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
