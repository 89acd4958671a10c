"""Weights that are a folder of files: kept where they lie, each checked once against its hash, never copied.

For networks of many gigabytes, whose official files are mapped into memory as they are. The folder is the hub's own
snapshot, one that the user filled, or one that the card names. What was checked is recorded with size and time of
modification, so that a file is hashed again only after it has changed.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stvsr_bench.core.atomic import read_json, write_json
from stvsr_bench.core.errors import ResultError, WeightError
from stvsr_bench.core.hashing import digest
from stvsr_bench.core.weight_card import Hub, Local, WeightFile, WeightSpec
from stvsr_bench.weights.cache import CacheError, cache_dir, fetching, file_identity, files_dir, our_errors, record_file
from stvsr_bench.weights.known import bytes_text, carrier, describe

if TYPE_CHECKING:
    from stvsr_bench.weights.download import Reporter

_BLOCK = 1 << 22
_LONG = 10_000_000
"""Bytes from which hashing a file takes long enough to be told."""
_POINTER = b"version https://git-lfs"


# ---------------------------------------------------------------------- one file


def file_sha256(path: Path, reporter: Reporter) -> str:
    """Return the sha256 of a file; it is computed again only where size or time of modification have changed.

    Raises:
        WeightError: the file cannot be read, or changes while it is read.
        CacheError: the cache folder cannot be written.
    """
    known = _known_sha256(path)
    if known is not None:
        return known
    try:
        before = _facts(path)
        found = _hash(path, int(before["size"]), reporter)
        if _facts(path) != before:
            raise WeightError(f"'{path}' changed while it was read", action="wait until it is written, and try again")
    except OSError as error:
        raise WeightError(f"cannot read '{path}'", got=error.strerror) from error
    with our_errors():
        write_json(_note(path), {**before, "sha256": found})
    return found


def _hash(path: Path, size: int, reporter: Reporter) -> str:
    """The sha256 of the first ``size`` bytes: no more are read, though somebody may still be writing."""
    found = hashlib.sha256()
    told = size >= _LONG
    with path.open("rb") as file:
        if told:
            reporter.begin(path.name, 0, size, "checking")
        try:
            while size > 0 and (block := file.read(min(size, _BLOCK))):
                found.update(block)
                size -= len(block)
                if told:
                    reporter.advance(len(block))
        finally:
            if told:
                reporter.end()
    return found.hexdigest()


def _facts(path: Path) -> dict[str, str | int]:
    real = path.resolve()
    state = real.stat()
    text = os.fsencode(real).decode(errors="replace")
    return {"path": text, "size": state.st_size, "mtime_ns": state.st_mtime_ns}


def _note(path: Path) -> Path:
    key = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()
    return cache_dir() / "recorded" / f"file-{key[:32]}.json"


def _known_sha256(path: Path) -> str | None:
    """Return what an earlier reading found, unless the file has changed since; its content is not looked at."""
    try:
        noted = read_json(_note(path))
        facts = _facts(path)
    except (OSError, ResultError):
        return None
    return str(noted.pop("sha256")) if {**facts, "sha256": noted.get("sha256")} == noted else None


# ---------------------------------------------------------------------- a folder


def folder_hash(hashes: Mapping[str, str]) -> str:
    """Return the identity of a folder: a digest of its files' paths, relative to it, and their sha256."""
    return digest(sorted(hashes.items()))


def hash_folder(folder: Path, names: tuple[str, ...], reporter: Reporter) -> str:
    """Return the identity of the files ``names`` of any folder, hashing only what was not hashed before.

    A folder with the files of a card has the identity of the card's weight.

    Raises:
        WeightError: a file cannot be read.
        CacheError: the cache folder cannot be written.
    """
    return folder_hash({name: file_sha256(folder / name, reporter) for name in names})


def present_folder(spec: WeightSpec) -> Path | None:
    """Return the folder whose files were checked and have not changed since, or ``None``; no content is looked at."""
    try:
        folder = Path(read_json(record_file(spec))["folder"])
    except (OSError, ResultError, KeyError, TypeError):
        return None
    found = ((file, _known_sha256(folder / file.path)) for file in _files(spec))
    return folder if all(known is not None and known.startswith(_start(file)) for file, known in found) else None


def known_folder_hash(spec: WeightSpec) -> str:
    """Return the identity of a folder weight: of the card's hashes, or, where it lacks some, of the files found here.

    Before these have been checked it is ``file:`` and what the card knows of them.
    """
    hashes = {file.path: file.sha256 for file in _files(spec)}
    folder = present_folder(spec)
    if None in hashes.values() and folder is not None:
        hashes = {name: _known_sha256(folder / name) for name in hashes}
    known = {name: value for name, value in hashes.items() if value is not None}
    return folder_hash(known) if len(known) == len(hashes) else f"file:{file_identity(spec)}"


def _files(spec: WeightSpec) -> tuple[WeightFile, ...]:
    return spec.channels[0].files


def _start(file: WeightFile) -> str:
    return file.sha256 or file.sha256_start or ""


def fetch_folder(weight: str, spec: WeightSpec, *, folder: Path | None, offline: bool, reporter: Reporter) -> Path:
    """Find the folder of a weight, check it and remember it; download it where it is nowhere here.

    Args:
        weight: its id.
        spec: its facts.
        folder: look there and nowhere else.
        offline: ask nobody.
        reporter: who is told.

    Returns:
        The folder, below which the files lie at the paths that the card names.

    Raises:
        WeightError: it cannot be had; every place that was tried is named, and every file with its size.
        CacheError: the cache folder cannot be written.
    """
    if (present := present_folder(spec)) is not None:
        return present
    tried: list[str] = []
    for place in _places(weight, spec, folder):
        try:
            return _keep(spec, place, reporter)
        except CacheError:
            raise
        except WeightError as error:
            tried.append(str(error))
    for channel in spec.channels if folder is None else ():
        if isinstance(channel, Local):
            if channel.folder is not None and not Path(channel.folder).expanduser().is_dir():
                tried.append(f"{channel.text}: no such folder")
            continue
        assert isinstance(channel, Hub)
        if offline:
            tried.append(f"{channel.text}: not asked, offline")
            continue
        try:
            with fetching(carrier(channel)):
                if (present := present_folder(spec)) is not None:  # another process has fetched it meanwhile
                    return present
                return _keep(spec, _download(channel, reporter), reporter)
        except CacheError:
            raise
        except WeightError as error:
            tried.append(f"{channel.text}: {error}")
    raise _cannot_be_had(weight, spec, tried, folder, offline)


def _places(weight: str, spec: WeightSpec, folder: Path | None) -> Iterator[Path]:
    """Yield the folders of this machine that hold any of the files, the likeliest first."""
    hubs = [channel for channel in spec.channels if isinstance(channel, Hub)]
    names = [weight.replace("/", "__")]
    names += [name for hub in hubs for name in (hub.repository.replace("/", "__"), hub.repository.split("/")[1])]
    above = files_dir() if folder is None else folder
    places = [*([above] if folder is not None or not hubs else []), *(above / name for name in names)]
    if folder is None:
        from huggingface_hub.constants import HF_HUB_CACHE

        local = [channel.folder for channel in spec.channels if isinstance(channel, Local) and channel.folder]
        places += [Path(each).expanduser() for each in local]
        places += [snapshot for hub in hubs for snapshot in _snapshots(hub, Path(HF_HUB_CACHE))]
    else:
        places += [snapshot for hub in hubs for snapshot in _snapshots(hub, folder)]
    for place in places:
        if any((place / file.path).exists() for file in _files(spec)):
            yield place.absolute()


def _snapshots(hub: Hub, cache: Path) -> list[Path]:
    """The snapshots of a repository in a cache of the hub's library; by a commit, where only that tells the files."""
    found = (cache / f"models--{hub.repository.replace('/', '--')}" / "snapshots").glob("*")
    fixed = all(file.sha256 for file in hub.files)
    return sorted(path for path in found if fixed or path.name.startswith(hub.revision or "-"))


def _download(channel: Hub, reporter: Reporter) -> Path:
    """Let the hub's library download what lacks in its own cache, and return the snapshot."""
    import huggingface_hub

    size = sum(file.size or 0 for file in channel.files)
    known = f", {bytes_text(size)}" if all(file.size for file in channel.files) else ""
    reporter.say(f"{channel.text}: {len(channel.files)} files{known}")
    wanted = [glob.escape(file.path) for file in channel.files]
    try:
        found = huggingface_hub.snapshot_download(channel.repository, revision=channel.revision, allow_patterns=wanted)
    except Exception as error:  # the library lets errors of its HTTP client through, which one depends on its version
        text = (str(error).strip() or type(error).__name__).splitlines()[0].removeprefix("Got: ")[:200]
        raise WeightError("the hub does not give it", got=text) from error
    return Path(found)


def _keep(spec: WeightSpec, folder: Path, reporter: Reporter) -> Path:
    """Check every file in ``folder``, and remember the folder where all are right."""
    files = sorted(_files(spec), key=lambda file: (folder / file.path).stat().st_size if _is_file(folder, file) else 0)
    faults = [fault for file in files if (fault := _outward_fault(folder, file)) is not None]
    if not faults:  # hashing may take a minute: only where everything else is right, small files first
        for file in files:
            found = file_sha256(folder / file.path, reporter)
            if not found.startswith(_start(file)):
                faults.append(f"{file.path} is another file (sha256 {found}, expected {_start(file)})")
    if faults:
        raise WeightError(f"'{folder}' does not hold the files of the card", got=", ".join(faults))
    with our_errors():
        write_json(record_file(spec), {"name": spec.name, "folder": str(folder)})
    return folder


def _is_file(folder: Path, file: WeightFile) -> bool:
    return (folder / file.path).is_file()


def _outward_fault(folder: Path, file: WeightFile) -> str | None:
    """Say what is wrong with a file as far as that shows without reading it all."""
    path = folder / file.path
    if not path.is_file():
        return f"{file.path} is absent"
    try:
        with path.open("rb") as opened:
            if opened.read(len(_POINTER)) == _POINTER:
                return f"{file.path} is only a pointer of git LFS (run: git lfs pull)"
    except OSError as error:
        return f"{file.path} cannot be read ({error.strerror})"
    size = path.stat().st_size
    return f"{file.path} has {size} bytes instead of {file.size}" if file.size not in (None, size) else None


def _cannot_be_had(weight: str, spec: WeightSpec, tried: list[str], folder: Path | None, offline: bool) -> WeightError:
    files = ", ".join(f"{file.path} ({bytes_text(file.size)})" for file in _files(spec))
    got = "; ".join(f"{number}. {text}" for number, text in enumerate(tried, 1))
    make = "" if spec.made_with is None else f"make it: {spec.made_with}; then "
    if folder is not None:
        return WeightError(
            f"{describe(weight, spec)} is not in '{folder}'",
            got=got or "none of its files",
            accepted=f"a folder with {files}",
            action=f"{make}put the files there{'' if make else ' as in the published folder'}",
        )
    return WeightError(
        f"{describe(weight, spec)} cannot be had{' (offline)' if offline else ''}",
        got=got or "no such file here",
        accepted=f"a folder with {files}",
        action=f"{make}put them into {files_dir() / weight.replace('/', '__')}, or name the folder where they are: "
        f"stvsr-bench fetch {weight} --from DIR",
    )
