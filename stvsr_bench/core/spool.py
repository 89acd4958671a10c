"""Numbered blocks of bytes in an unnamed temporary file: data that memory should not hold."""

from __future__ import annotations

import os
import tempfile


class Spool:
    """Blocks of one size, written and read by number in any order.

    The file has no name, so it ends with the process however that ends; the system keeps it in memory that nothing
    else needs.

    Args:
        size: bytes of a block.
        folder: where the file lies; default: the system's temporary folder (``$TMPDIR``).

    Raises:
        OSError: the file cannot be made; from :meth:`put`: there is no room.
    """

    def __init__(self, size: int, folder: str | os.PathLike[str] | None = None) -> None:
        self.size = size
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".tmp-", buffering=0)  # noqa: SIM115

    def put(self, number: int, data: memoryview) -> None:
        """Write whole blocks, ``number`` being the first one's."""
        offset = number * self.size
        while data:
            written = os.pwrite(self._file.fileno(), data, offset)
            data, offset = data[written:], offset + written

    def get(self, number: int, target: memoryview) -> None:
        """Fill ``target`` with what :meth:`put` wrote from block ``number`` on."""
        offset = number * self.size
        while target:
            got = os.preadv(self._file.fileno(), [target], offset)
            if got == 0:
                raise EOFError(f"block {number} was never written")
            target, offset = target[got:], offset + got

    def close(self) -> None:
        """Free the file."""
        self._file.close()
