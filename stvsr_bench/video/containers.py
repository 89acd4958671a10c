"""Is a video file whole? Asked of the container's own structure, because decoders hide what is missing."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import BinaryIO

_BMFF_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp")
_EBML, _SEGMENT, _CRC32 = 0x1A45DFA3, 0x18538067, 0xBF
_CRC_BLOCK = 1 << 20


def container_damage(path: Path) -> str | None:
    """Say why a video file is not whole, or ``None``.

    MP4 and QuickTime: every top-level box ends inside the file and there is an index. Matroska and WebM: the segment
    ends inside the file and the checksums that its parts carry are right. AVI: the stated sizes fit. Other
    containers state no size; for them a damaged packet shows only in the decoder.

    Raises:
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    if size == 0:
        return "the file is empty"
    with path.open("rb") as file:
        head = file.read(12)
        if head[4:8] in _BMFF_BOXES:
            return _bmff_damage(file, size)
        if head[:4] == _EBML.to_bytes(4, "big"):
            return _matroska_damage(file, size)
        if head[:4] == b"RIFF" and head[8:11] == b"AVI":
            return _avi_damage(file, size)
    return None


def _bmff_damage(file: BinaryIO, size: int) -> str | None:
    position, indexed = 0, False
    while position + 8 <= size:
        file.seek(position)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:
            length = size - position
        if length < 8 or not kind.isalnum():
            break  # padding behind the last box
        if position + length > size:
            return f"the file is truncated: its '{kind.decode('latin-1')}' part needs {position + length} bytes"
        indexed |= kind == b"moov"
        position += length
    return None if indexed else "the file has no index ('moov'): its recording or download did not finish"


def _avi_damage(file: BinaryIO, size: int) -> str | None:
    position = 0
    while position + 12 <= size:
        file.seek(position)
        head = file.read(12)
        if head[:4] != b"RIFF":
            break
        position += 8 + int.from_bytes(head[4:8], "little")
        if position > size:
            return f"the file is truncated: it states {position} bytes"
    return None


def _matroska_damage(file: BinaryIO, size: int) -> str | None:
    """Walk the elements of the first segment; ``None`` also for a segment of unknown size (a live recording)."""
    position = 0
    while (element := _element(file, position)) is not None:
        kind, start, length = element
        if length is None:
            return None
        if start + length > size:
            return f"the file is truncated: it states {start + length} bytes"
        if kind == _SEGMENT:
            return _segment_damage(file, start, start + length)
        position = start + length
    return "the file is truncated inside its header"


def _segment_damage(file: BinaryIO, position: int, end: int) -> str | None:
    while position < end and (element := _element(file, position)) is not None:
        _, start, length = element
        if length is None:
            return None
        if start + length > end:
            return "an element is longer than the file's segment"
        child = _element(file, start) if length >= 6 else None
        if child is not None and child[0] == _CRC32 and child[2] == 4:
            file.seek(child[1])
            stated, left, found = int.from_bytes(file.read(4), "little"), start + length - child[1] - 4, 0
            while left > 0 and (block := file.read(min(left, _CRC_BLOCK))):
                found, left = zlib.crc32(block, found), left - len(block)
            if found != stated:
                return f"the checksum of its part at byte {position} is wrong"
        position = start + length
    return None


def _element(file: BinaryIO, position: int) -> tuple[int, int, int | None] | None:
    """Return id, start of the data and length (``None``: unknown) of the EBML element at ``position``."""
    file.seek(position, os.SEEK_SET)
    head = file.read(12)
    if not head or head[0] == 0:
        return None
    id_length = 9 - head[0].bit_length()
    rest = head[id_length:]
    if id_length > 4 or not rest or rest[0] == 0:
        return None
    size_length = 9 - rest[0].bit_length()
    if len(rest) < size_length:
        return None
    value = int.from_bytes(rest[:size_length], "big") & ((1 << 7 * size_length) - 1)
    unknown = value == (1 << 7 * size_length) - 1
    return int.from_bytes(head[:id_length], "big"), position + id_length + size_length, None if unknown else value
