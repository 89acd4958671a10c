"""Files that are either whole or absent: temporary name in the same folder, flush, rename."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from stvsr_bench.core.errors import ResultError

TEMPORARY_PREFIX = ".tmp-"


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file that becomes ``path`` when the block ends, and vanishes when it raises.

    A symbolic link is followed, so that its target is replaced and not the link; what is no regular file (a pipe,
    ``/dev/stdout``) is written to directly.

    Args:
        path: the final path; its folder is created.
        mode: ``"w"`` (UTF-8 text) or ``"wb"``.

    Raises:
        ResultError: the disk is full, the folder is read-only, or another operating-system failure.
    """
    given, path = path, Path(os.path.realpath(path))
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    tmp: Path | None = None
    try:
        if os.path.exists(given) and not os.path.isfile(given):
            with open(given, mode, **text) as file:  # type: ignore[call-overload]
                yield file
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        fd, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, suffix=path.suffix, dir=path.parent)
        tmp = Path(name)
        os.fchmod(fd, 0o666 & ~_umask())
        with open(fd, mode, **text) as file:  # type: ignore[call-overload]
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(tmp, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise ResultError(
            f"cannot write '{path}'",
            got=error.strerror or str(error),
            accepted="a writable folder with free space",
            action="free space or choose another folder, then run the same command again: finished work is kept",
        ) from error
    finally:
        if tmp is not None:
            with contextlib.suppress(OSError):
                tmp.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty temporary folder beside ``path`` that replaces it when the block ends.

    A folder that stood at ``path`` before is removed only after the new one is whole.

    Raises:
        ResultError: an operating-system failure; the temporary folder is removed and ``path`` is untouched.
    """
    path = Path(path)
    tmp: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tmp = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=path.parent))
        tmp.chmod(0o777 & ~_umask())
        yield tmp
        _sync_folder(tmp)
        old: Path | None = None
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=path.parent))
            os.replace(path, old / "old")
        os.replace(tmp, path)
        _sync_folder(path.parent)
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise ResultError(
            f"cannot write the folder '{path}'",
            got=error.strerror or str(error),
            accepted="a writable folder with free space",
            action="free space or choose another folder, then run the same command again: finished work is kept",
        ) from error
    finally:
        if tmp is not None and tmp.exists():
            shutil.rmtree(tmp, ignore_errors=True)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write strict, human-readable JSON atomically (no NaN, no infinity, keys in the order given)."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    with atomic_write(path) as file:
        file.write(text + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read JSON written by :func:`write_json`.

    Raises:
        ResultError: the file is not valid JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ResultError(
            f"'{path}' is not valid JSON", got=str(error), action="delete it and run the same command again"
        ) from error
