"""Video compression of a clip in memory, repeatable: the same frames always give the same pixels on one build."""

from __future__ import annotations

import functools
import io
import itertools
import re
from collections.abc import Iterable, Iterator
from importlib import metadata
from typing import Any, Literal

import av
import cv2
import numpy as np

from stvsr_bench.core.errors import ConfigError, DataError, nearest
from stvsr_bench.degradation.frame import Bytes, check_frame

Codec = Literal["libx264", "h264", "mpeg4"]
Odd = Literal["refuse", "pad", "crop"]

CODECS: dict[str, str] = {"libx264": "libx264", "h264": "libx264", "mpeg4": "mpeg4"}
"""Name in recipes → FFmpeg's encoder. ``h264`` is no encoder of its own: FFmpeg takes its first H.264 encoder, which is
libx264 wherever that is built in; written down here so that another build cannot pick another one."""

ODD = ("refuse", "pad", "crop")

LOWEST_BITRATE = 1000
"""bit/s; x264 counts in whole kbit/s, and 0 would switch its rate control off."""

_X264_CORE = re.compile(rb"x264 - core (\d+(?: r\d+\w*)?(?: [0-9a-f]{7,})?)")


def compress(
    frames: Iterable[Bytes],
    codec: str,
    bitrate: int,
    *,
    odd: str = "refuse",
) -> Iterator[Bytes]:
    """Encode a clip to MP4 in memory and decode it again, frame by frame.

    One frame per second, yuv420p, average bit rate without a buffer constraint, the encoder's default preset and group
    of pictures: ``bitrate`` is bits per frame, whatever the frame's size. It is an average over a long clip: rate
    control starts high, so that five frames can take several times as much, and it stops at the coarsest quantiser.
    The number and order of frames are kept. Colours go through swscale as PyAV calls it (BT.601, limited range,
    chroma of 2×2 pixels averaged bilinearly and repeated on the way back).

    Repeatable by two settings that the reference codes lack: one thread, and libx264 with ``mbtree=0`` (with the
    macroblock tree, libx264 gives other bits when the same clip is encoded again in the same process). The macroblock
    tree moves bits between frames; the average stays. Another build of FFmpeg or x264 gives other pixels: see
    :func:`library_versions`.

    Sizes: the first frame fixes the size of the clip. A frame of another size (random walks of the resize factor cross
    an even size) is rescaled by swscale, bilinear, in the same step that converts its colours: this is what PyAV does
    inside the reference codes.

    Shapes: uint8 ``(H, W, 3)`` each → uint8 of the first frame's size each (``odd="crop"``: its even part).

    Memory: the compressed clip and the encoder's look-ahead; decoded frames are made one at a time. All frames are
    taken from ``frames`` when the first result is asked for.

    Args:
        frames: RGB, clipped and rounded by the caller, who knows which rounding the recipe wants.
        codec: a key of ``CODECS``.
        bitrate: bit/s at one frame per second.
        odd: what happens to a side that is odd, which 4:2:0 cannot hold: ``refuse``; ``pad`` repeats the last row or
            column and cuts it off afterwards (DOVE); ``crop`` drops it before (STAR), so that the result is smaller.

    Raises:
        ConfigError: an unknown codec or option, a bit rate below ``LOWEST_BITRATE``, or an FFmpeg (inside PyAV) that
            was built without the encoder; at once.
        DataError: no frames, not a frame, an odd side with ``refuse``, or FFmpeg cannot encode or decode; while
            iterating.
    """
    if codec not in CODECS:
        close = nearest(codec, CODECS)
        raise ConfigError(
            f"video compression: unknown codec '{codec}'",
            accepted=", ".join(CODECS),
            action=f"did you mean '{close[0]}'?" if close else None,
        )
    if odd not in ODD:
        raise ConfigError("video compression: odd", got=f"'{odd}'", accepted=", ".join(ODD))
    if bitrate < LOWEST_BITRATE:
        raise ConfigError("video compression: bit rate", got=f"{bitrate} bit/s", accepted=f"at least {LOWEST_BITRATE}")
    try:
        av.Codec(CODECS[codec], "w")
    except av.codec.codec.UnknownCodecError as error:
        raise ConfigError(
            f"video compression: FFmpeg inside PyAV {av.__version__} has no encoder '{CODECS[codec]}'",
            action="install a PyAV wheel from PyPI, which has it",
        ) from error
    return _compress(frames, codec, int(bitrate), odd)


def _compress(frames: Iterable[Bytes], codec: str, bitrate: int, odd: str) -> Iterator[Bytes]:
    rest = iter(frames)
    first = next(rest, None)
    if first is None:
        raise DataError("video compression", got="zero frames", accepted="at least one frame")
    check_frame(first, "video compression", bytes_only=True)
    size = (int(first.shape[0]), int(first.shape[1]))
    if odd == "crop":
        size = (size[0] - size[0] % 2, size[1] - size[1] % 2)
    evened = (_even(frame, odd) for frame in itertools.chain((first,), rest))
    try:
        stream, count = _encode(evened, CODECS[codec], bitrate)
        yield from _decode(stream, count, size)
    except av.error.FFmpegError as error:
        raise DataError(
            f"video compression with '{codec}' failed",
            got=f"frames of {first.shape[1]}×{first.shape[0]} at {bitrate} bit/s: {error}",
            accepted="sides that the encoder can take, and memory for it",
        ) from error


def _even(frame: Bytes, odd: str) -> Bytes:
    check_frame(frame, "video compression", bytes_only=True)
    height, width = frame.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return frame
    if odd == "refuse":
        raise DataError(
            "video compression: frame of an odd size",
            got=f"{width}×{height}",
            accepted="an even width and an even height",
            action="use odd='pad' or odd='crop'",
        )
    if odd == "pad":
        return np.asarray(cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REFLECT))
    cut = frame[: height - height % 2, : width - width % 2]
    if 0 in cut.shape:
        raise DataError("video compression: nothing is left", got=f"{width}×{height}", accepted="at least 2×2")
    return cut


def _encode(frames: Iterator[Bytes], encoder: str, bitrate: int) -> tuple[io.BytesIO, int]:
    """Return the MP4 file and how many frames went into it; all frames are even."""
    buffer = io.BytesIO()
    count = 0
    with av.open(buffer, "w", format="mp4") as container:
        options = {"x264-params": "mbtree=0"} if encoder == "libx264" else {}
        stream: Any = container.add_stream(encoder, rate=1, options=options)
        for frame in frames:
            if count == 0:
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.bit_rate = bitrate
                stream.codec_context.thread_count = 1
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture.pts = count
            container.mux(stream.encode(picture))
            count += 1
        container.mux(stream.encode(None))
    buffer.seek(0)
    return buffer, count


def _decode(buffer: io.BytesIO, count: int, size: tuple[int, int]) -> Iterator[Bytes]:
    decoded = 0
    with av.open(buffer, "r", format="mp4") as container:
        stream: Any = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for picture in container.decode(stream):
            decoded += 1
            # a copy: the array that PyAV gives may share the memory of its frame
            yield picture.to_ndarray(format="rgb24")[: size[0], : size[1]].copy()
    if decoded != count:
        raise DataError("video compression changed the number of frames", got=f"{decoded} of {count} frames")


def library_versions() -> dict[str, str]:
    """Return the versions on which the pixels of a degraded clip depend, by name.

    PyAV and FFmpeg's libraries, the x264 build (read from what it writes into its own bitstream; ``absent`` without
    libx264), OpenCV with its JPEG library and whether Intel's IPP is used, NumPy, SciPy and PyTorch.
    """
    versions = {"pyav": av.__version__}
    for name, parts in sorted(av.library_versions.items()):
        versions[name] = ".".join(map(str, parts))
    versions["x264"] = _x264_core()
    versions["opencv"] = cv2.__version__
    versions["opencv_jpeg"] = _opencv_jpeg()
    versions["opencv_ipp"] = cv2.ipp.getIppVersion() if cv2.ipp.useIPP() else "not used"
    for name in ("numpy", "scipy", "torch"):
        versions[name] = metadata.version(name)
    return versions


@functools.cache
def _x264_core() -> str:
    try:
        stream, _ = _encode(iter([np.zeros((16, 16, 3), np.uint8)]), "libx264", 10_000)
    except av.codec.codec.UnknownCodecError:
        return "absent"
    found = _X264_CORE.search(stream.getvalue())
    return found.group(1).decode("ascii") if found else "unknown"


@functools.cache
def _opencv_jpeg() -> str:
    found = re.search(r"^\s*JPEG:\s*(.+?)\s*$", cv2.getBuildInformation(), re.MULTILINE)
    return found.group(1) if found else "unknown"
