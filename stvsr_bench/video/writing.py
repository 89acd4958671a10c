"""Writing clips: PNG folders for scoring, FFV1 for keeping, MP4 for looking at; whole or absent."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import cv2
import torch

from stvsr_bench.core.atomic import TEMPORARY_PREFIX, atomic_folder
from stvsr_bench.core.errors import ClipError, ResultError
from stvsr_bench.video.clip import Frames
from stvsr_bench.video.images import ImageArray

OUTPUT_KINDS = ("png", "ffv1", "mp4")
"""What :func:`open_writer` writes."""

FALLBACK_RATE = Fraction(25)
"""Frame rate of a video file whose clip does not state one."""

# Measured on Vid4 walk (720x480, one core, OpenCV 5.0): level 1 with run-length strategy takes 18 ms and 529 KB a
# frame; Huffman only 16 ms, 542 KB; level 1 with the default strategy 21 ms, 553 KB; level 3 35 ms, 535 KB; level 6
# 86 ms, 523 KB; uncompressed 9 ms, 1039 KB.
_PNG_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)


class ClipWriter(ABC):
    """Takes blocks of frames in order; the clip appears under its name when the ``with`` block ends without an error.

    Attributes:
        frames: how many frames were written.
    """

    def __init__(self, path: Path, height: int, width: int) -> None:
        self.path = path
        self.height = height
        self.width = width
        self.frames = 0
        self._target = contextlib.ExitStack()

    def write(self, block: Frames) -> None:
        """Append frames.

        Args:
            block: uint8 RGB ``(T, 3, H, W)`` of the writer's size; it may be reused as soon as this returns.

        Raises:
            ClipError: another dtype or size.
            ResultError: the disk is full or another operating-system failure.
        """
        if block.dtype != torch.uint8 or block.ndim != 4 or tuple(block.shape[1:]) != (3, self.height, self.width):
            raise ClipError(
                f"cannot write frames to '{self.path}'",
                got=f"shape {tuple(block.shape)}, {block.dtype}",
                accepted=f"uint8 RGB (T, 3, {self.height}, {self.width})",
            )
        for red, green, blue in block.contiguous().cpu().numpy():
            self._append(red, green, blue)
            self.frames += 1

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._open(stack)
            self._target = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Finishing may fail too (a full disk shows late); it must reach the stack, which then removes what was begun.
        with self._target:
            if error is not None:
                self._abandon()
                raise error
            if self.frames == 0:
                self._abandon()
                raise ClipError(f"cannot write '{self.path}'", got="zero frames", accepted="at least one frame")
            self._finish()

    @abstractmethod
    def _open(self, stack: contextlib.ExitStack) -> None:
        """Open the temporary target; ``stack`` renames it on success and removes it on failure."""

    @abstractmethod
    def _append(self, red: ImageArray, green: ImageArray, blue: ImageArray) -> None:
        """Copy one frame's planes ``(H, W)`` and encode them, now or later."""

    @abstractmethod
    def _finish(self) -> None:
        """Wait for everything to be written."""

    @abstractmethod
    def _abandon(self) -> None:
        """Stop at once; the temporary target is removed afterwards. Never raises."""


class PngFolderWriter(ClipWriter):
    """A folder of ``00000000.png``, ``00000001.png``, …, encoded by ``workers`` threads, a bounded number at a time."""

    def __init__(self, path: Path, height: int, width: int, workers: int) -> None:
        super().__init__(path, height, width)
        self._workers = max(workers, 1)
        self._pending: deque[Future[None]] = deque()

    def _open(self, stack: contextlib.ExitStack) -> None:
        self._folder = stack.enter_context(atomic_folder(self.path))
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="png-writer")

    def _append(self, red: ImageArray, green: ImageArray, blue: ImageArray) -> None:
        while len(self._pending) >= 2 * self._workers:
            self._pending.popleft().result()
        path = self._folder / f"{self.frames:08d}.png"
        self._pending.append(self._pool.submit(_write_png, path, cv2.merge((blue, green, red))))

    def _finish(self) -> None:
        try:
            while self._pending:
                self._pending.popleft().result()
        finally:
            self._abandon()

    def _abandon(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


def _write_png(path: Path, bgr: ImageArray) -> None:
    done, data = cv2.imencode(".png", bgr, _PNG_OPTIONS)
    if not done:
        raise ResultError(f"cannot encode the frame '{path}'", got=f"shape {bgr.shape}")
    with path.open("wb") as file:
        file.write(data.data)
        # Rename must not become durable before the pixels are: a crash would leave whole names with empty files.
        file.flush()
        os.fsync(file.fileno())


class VideoFileWriter(ClipWriter):
    """One video file: FFV1 in RGB in Matroska (bit-exact), or H.264 in YUV 4:2:0 in MP4 (for looking at)."""

    def __init__(
        self,
        path: Path,
        height: int,
        width: int,
        frame_rate: Fraction | None,
        workers: int,
        *,
        lossless: bool,
    ) -> None:
        super().__init__(path, height, width)
        self._lossless = lossless
        self._rate = frame_rate if frame_rate is not None else FALLBACK_RATE
        self._workers = max(workers, 1)
        if not lossless and (height % 2 or width % 2):
            raise ClipError(
                f"cannot write '{path}' as MP4",
                got=f"frames of {width}x{height}",
                accepted="an even width and an even height (its colour is stored at half size)",
                action="write a lossless .mkv, or crop to an even size",
            )

    def _open(self, stack: contextlib.ExitStack) -> None:
        temporary = stack.enter_context(_atomic_file(self.path))
        with _full_disk(self.path):
            # The name tells FFmpeg nothing: the format is given, whatever ending the user chose.
            self._container: Any = av.open(
                str(temporary), "w", format="matroska" if self._lossless else "mp4", options=_muxer(self._lossless)
            )
            codec, options = _encoder(self._lossless, min(self.height, self.width))
            self._stream: Any = self._container.add_stream(codec, rate=self._rate, options=options)
            self._stream.width, self._stream.height = self.width, self.height
            self._stream.pix_fmt = "bgr0" if self._lossless else "yuv420p"
            self._stream.codec_context.thread_count = self._workers

    def _append(self, red: ImageArray, green: ImageArray, blue: ImageArray) -> None:
        with _full_disk(self.path):
            picture = av.VideoFrame.from_ndarray(cv2.merge((red, green, blue)), format="rgb24")
            picture.pts, picture.time_base = self.frames, 1 / self._rate
            self._container.mux(self._stream.encode(picture))

    def _finish(self) -> None:
        with _full_disk(self.path):
            try:
                self._container.mux(self._stream.encode(None))
            finally:
                self._container.close()

    def _abandon(self) -> None:
        with contextlib.suppress(OSError, av.error.FFmpegError):
            self._container.close()


def _encoder(lossless: bool, side: int) -> tuple[str, dict[str, str]]:
    if lossless:
        # Version 3 with checksums per slice; every frame a key frame (g=1), so that any frame is read alone.
        return "ffv1", {"level": "3", "slicecrc": "1", "slices": "4" if side >= 16 else "1", "g": "1"}
    return "libx264", {"crf": "17", "preset": "medium"}


def _muxer(lossless: bool) -> dict[str, str]:
    # The index in front, so that a player can begin while the file loads.
    return {} if lossless else {"movflags": "+faststart"}


def _failure(path: Path, error: BaseException) -> ResultError:
    return ResultError(
        f"cannot write '{path}'",
        got=getattr(error, "strerror", None) or str(error),
        accepted="a writable folder with free space",
        action="free space or choose another folder, then run the same command again: finished work is kept",
    )


@contextlib.contextmanager
def _full_disk(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, av.error.FFmpegError) as error:
        raise _failure(path, error) from error


@contextlib.contextmanager
def _atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path`` for a library that opens files itself; renamed when the block ends."""
    folder: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A folder, not a file: FFmpeg creates the file with the user's usual permissions.
        folder = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=path.parent))
        temporary = folder / "clip"
        yield temporary
        for synced in (temporary, folder):
            descriptor = os.open(synced, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        os.replace(temporary, path)
    except OSError as error:
        raise _failure(path, error) from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def open_writer(
    path: str | os.PathLike[str],
    kind: str,
    height: int,
    width: int,
    frame_rate: Fraction | None = None,
    workers: int = 2,
) -> ClipWriter:
    """Return a writer, for use as a context manager whose ``write`` takes block after block.

    Nothing stands at ``path`` before the block ended without an error; what stood there before is replaced then.

    Args:
        path: the final folder (``png``) or file (``ffv1``, ``mp4``); parent folders are created.
        kind: ``png``: folder of ``{:08d}.png``; ``ffv1``: lossless RGB in Matroska; ``mp4``: lossy H.264, even sizes.
        height: rows of every frame.
        width: columns of every frame.
        frame_rate: frames per second, kept exactly in video files (25 where ``None``); folders hold none.
        workers: encoding threads.

    Raises:
        ClipError: an unknown kind, an empty frame, or an odd size for ``mp4``.
        ResultError: on entering, writing or leaving: the disk is full or another operating-system failure.
    """
    path = Path(path)
    if height < 1 or width < 1:
        raise ClipError(f"cannot write '{path}'", got=f"frames of {width}x{height}", accepted="at least 1x1")
    if kind == "png":
        return PngFolderWriter(path, height, width, workers)
    if kind in OUTPUT_KINDS:
        return VideoFileWriter(path, height, width, frame_rate, workers, lossless=kind == "ffv1")
    raise ClipError(f"cannot write '{path}'", got=f"kind '{kind}'", accepted=", ".join(OUTPUT_KINDS))
