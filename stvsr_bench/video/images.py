"""One image file to uint8 RGB: whole files only, and every change of the samples is named."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from stvsr_bench.core.errors import ClipError
from stvsr_bench.video.names import IMAGE_EXTS

ImageArray = npt.NDArray[np.uint8]
"""uint8 RGB: ``(3, H, W)`` where the tensor form is meant, ``(H, W, 3)`` where the decoder's is."""

NOTE_16_BIT = "16-bit samples became round(x/257)"
NOTE_GRAY = "gray samples were copied to R, G and B"
NOTE_ALPHA = "a fully opaque alpha channel was dropped"


def read_image(path: Path) -> tuple[ImageArray, tuple[str, ...]]:
    """Decode one image file.

    Range & units: 8-bit samples are kept; 16-bit samples become round(x/257), so that 0 and 65535 stay black and
    white. Orientation tags are ignored: pixels are as stored.

    Returns:
        uint8 RGB ``(3, H, W)`` and notes about what was changed.

    Raises:
        ClipError: the file is absent, empty, truncated, damaged, of another depth, or has real transparency.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ClipError(f"cannot read the frame '{path}'", got=error.strerror or str(error)) from error
    problem = _damage(data)
    image: Any = None
    if problem is None:
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error as error:
            problem = f"the decoder failed: {error}".strip()
        else:
            problem = None if image is not None else "the decoder does not understand it"
    if problem is not None:
        raise ClipError(
            f"cannot decode the frame '{path}'",
            got=f"{len(data)} bytes; {problem}",
            accepted="a whole " + ", ".join(e[1:] for e in IMAGE_EXTS) + " image",
            action="copy or make the file again",
        )
    return _to_planes(image, path)


def _to_planes(image: npt.NDArray[Any], path: Path) -> tuple[ImageArray, tuple[str, ...]]:
    """Return decoder output (gray, BGR or BGRA; uint8 or uint16) as uint8 RGB ``(3, H, W)`` with notes."""
    notes: list[str] = []
    channels = 1 if image.ndim == 2 else image.shape[2]
    if image.dtype not in (np.uint8, np.uint16) or channels not in (1, 3, 4):
        raise ClipError(
            f"the frame '{path}' has samples that are not supported",
            got=f"{channels} channels of {image.dtype}",
            accepted="gray, RGB or opaque RGBA of 8 or 16 bit",
            action="convert the frames",
        )
    # Split and stack by planes: reversing the channels of interleaved pixels takes ten times as long.
    planes = cv2.split(image)
    if channels == 4:
        alpha = planes[3]
        if int(alpha.min()) != np.iinfo(alpha.dtype).max:
            raise ClipError(
                f"the frame '{path}' has transparent pixels",
                got=f"alpha from {int(alpha.min())} to {int(alpha.max())}",
                accepted="frames without alpha, or with alpha that is opaque everywhere",
                action="composite the frames over a background first",
            )
        notes.append(NOTE_ALPHA)
    rgb = np.stack([planes[0]] * 3 if channels == 1 else planes[2::-1])
    if rgb.dtype == np.uint16:
        # round(x/257) without floats; 257 is odd, so no value lies half-way.
        rgb = ((rgb.astype(np.uint32) + 128) // 257).astype(np.uint8)
        notes.append(NOTE_16_BIT)
    if channels == 1:
        notes.append(NOTE_GRAY)
    return rgb, tuple(notes)


def _damage(data: bytes) -> str | None:
    """Say what is wrong with an image file's frame of bytes, or ``None``.

    Decoders fill what is missing with gray or with the rows above and report success, so completeness is checked
    here: checksums (PNG), end marker (JPEG), stated sizes (WebP, BMP, TIFF).
    """
    if not data:
        return "the file is empty"
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return _png_damage(data)
        if data.startswith(b"\xff\xd8"):
            return _jpeg_damage(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            stated = struct.unpack_from("<I", data, 4)[0] + 8
            return None if stated <= len(data) else f"the file is truncated: it states {stated} bytes"
        if data.startswith(b"BM"):
            return _bmp_damage(data)
        if data.startswith((b"II*\0", b"MM\0*")):
            return _tiff_damage(data)
    except (struct.error, IndexError):
        return "the file is truncated inside its header"
    return None


def _png_damage(data: bytes) -> str | None:
    position = 8
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            return "the file is truncated"
        (checksum,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(memoryview(data)[position + 4 : end - 4]) != checksum:
            return f"the checksum of its {kind.decode('latin-1')} chunk is wrong"
        if kind == b"IEND":
            return None
        position = end
    return "the file is truncated: no IEND chunk"


def _jpeg_damage(data: bytes) -> str | None:
    # The end marker is looked for behind the first scan: a thumbnail inside the header has one of its own.
    position = 2
    while data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker == 0xDA:
            return None if data.find(b"\xff\xd9", position) >= 0 else "the file is truncated: no end marker"
        position += 2 + int(struct.unpack_from(">H", data, position + 2)[0])
    return "its header is damaged"


def _bmp_damage(data: bytes) -> str | None:
    offset, header = struct.unpack_from("<II", data, 10)
    if header >= 40:
        width, height, _, depth, compression, size = struct.unpack_from("<iiHHII", data, 18)
        needed = abs(height) * ((abs(width) * depth + 31) // 32 * 4) if compression in (0, 3) else size
    else:
        width, height, _, depth = struct.unpack_from("<HHHH", data, 18)
        needed = height * ((width * depth + 31) // 32 * 4)
    return None if offset + needed <= len(data) else f"the file is truncated: it needs {offset + needed} bytes"


def _tiff_damage(data: bytes) -> str | None:
    order = "<" if data.startswith(b"II") else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, directory)
    lists: dict[int, tuple[int, ...]] = {}
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(order + "HHI", data, entry)
        if tag in (273, 279, 324, 325) and kind in (3, 4):  # offsets and byte counts of strips and of tiles
            code, size = ("H", 2) if kind == 3 else ("I", 4)
            at = entry + 8 if values * size <= 4 else struct.unpack_from(order + "I", data, entry + 8)[0]
            lists[tag] = struct.unpack_from(f"{order}{values}{code}", data, at)
    for offsets, sizes in ((273, 279), (324, 325)):
        ends = [o + s for o, s in zip(lists.get(offsets, ()), lists.get(sizes, ()), strict=False)]
        if ends and max(ends) > len(data):
            return f"the file is truncated: it needs {max(ends)} bytes"
    return None
