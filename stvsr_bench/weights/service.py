"""The weights service: one door for methods and metrics to published parameters.

A weight is a set of named tensors, known by their hash. It is taken from the cache; else from the folder where users
put files by hand; else from the channels of its card, in their order. Whatever a file claims to be, its tensors are
checked before they are kept, and a wrong file is never kept.

Weights with ``reader: folder`` are whole folders, which stay where they are: see :mod:`stvsr_bench.weights.folder`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stvsr_bench.core.errors import BenchError, WeightError
from stvsr_bench.core.weight_card import Address, Channel, Local, Pypi, WeightSpec
from stvsr_bench.weights.cache import (
    CacheError,
    cached_file,
    fetching,
    file_identity,
    files_dir,
    recorded_hash,
    store,
)
from stvsr_bench.weights.folder import fetch_folder, known_folder_hash, present_folder
from stvsr_bench.weights.known import carrier, describe, known_weights, same_carrier, weight_spec

if TYPE_CHECKING:
    from torch import Tensor

    from stvsr_bench.weights.channels import Carried
    from stvsr_bench.weights.download import Reporter

__all__ = [
    "fetch_weight", "is_offline", "known_weights", "load_weight", "offline", "state", "weight_folder", "weight_hash",
    "weight_spec",
]  # fmt: skip

_OFFLINE: ContextVar[bool] = ContextVar("offline", default=False)
_TRUE = ("1", "on", "yes", "true")


@contextlib.contextmanager
def offline(on: bool = True) -> Iterator[None]:
    """Reach for nothing outside this machine inside the block; ``on=False`` changes nothing."""
    token = _OFFLINE.set(_OFFLINE.get() or on)
    try:
        yield
    finally:
        _OFFLINE.reset(token)


def is_offline() -> bool:
    """Whether nothing may be fetched: inside :func:`offline`, or $HF_HUB_OFFLINE is set."""
    return _OFFLINE.get() or os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE


def weight_hash(weight: str) -> str:
    """Return the identity of a weight without loading it: its tensor hash.

    Where the card knows only the file's hash, it is the tensor hash recorded when the file was first read here, and
    before that ``file:`` and the file's sha256. A folder's is the digest of its files' hashes.

    Raises:
        UnknownNameError: no such weight.
    """
    spec = weight_spec(weight)
    if spec.reader == "folder":
        return known_folder_hash(spec)
    return recorded_hash(spec) or f"file:{file_identity(spec)}"


def state(weight: str) -> Literal["present", "absent"]:
    """Say whether the cache holds a weight, or knows a folder that does.

    Raises:
        UnknownNameError: no such weight.
    """
    spec = weight_spec(weight)
    found = present_folder(spec) if spec.reader == "folder" else cached_file(spec)
    return "absent" if found is None else "present"


def weight_folder(weight: str, reporter: Reporter | None = None) -> Path:
    """Return the folder of a weight with ``reader: folder``, whose files are checked, fetching it first where absent.

    Args:
        weight: id ``owner/name``.
        reporter: who is told about downloads and checks.

    Raises:
        UnknownNameError: no such weight.
        WeightError: it is no folder; no channel gives it, or nothing may be fetched.
    """
    spec = weight_spec(weight)
    if spec.reader != "folder":
        raise WeightError(f"{describe(weight, spec)} is no folder", action="ask load_weight for its tensors")
    return fetch_weight(weight, reporter=reporter)


def load_weight(weight: str, reporter: Reporter | None = None) -> dict[str, Tensor]:
    """Return the tensors of a weight, fetching it first where the cache lacks it.

    Args:
        weight: id ``owner/name``.
        reporter: who is told about downloads.

    Returns:
        CPU tensors by their final names, checked against the tensor hash.

    Raises:
        UnknownNameError: no such weight.
        WeightError: no channel gives it, or nothing may be fetched; every channel that was tried is named.
    """
    spec = weight_spec(weight)
    if spec.reader == "folder":
        raise WeightError(f"{describe(weight, spec)} is a folder", action="ask weight_folder for its place")
    for _ in range(2):
        path = cached_file(spec)
        if path is not None:
            tensors = _read_cached(spec, path)
            if tensors is not None:
                return tensors
        fetch_weight(weight, reporter=reporter)
    raise CacheError(
        f"the cached file of {describe(weight, spec)} cannot be read back",
        got=str(cached_file(spec)),
        action="check the disk, or name another folder with $STVSR_BENCH_WEIGHTS",
    )


def _read_cached(spec: WeightSpec, path: Path) -> dict[str, Tensor] | None:
    """Return the tensors of a cached file, or ``None`` where it is damaged."""
    from stvsr_bench.weights.readers import RawFile, read_raw
    from stvsr_bench.weights.shaping import check_hash

    try:
        tensors = dict(read_raw("safetensors", [RawFile(path.name, path)]))
        check_hash(tensors, str(recorded_hash(spec)))
    except WeightError:
        return None
    return tensors


def fetch_weight(weight: str, *, folder: Path | None = None, reporter: Reporter | None = None) -> Path:
    """Make sure that the cache holds a weight, whole and checked; return its file, or the folder that it is.

    Args:
        weight: id ``owner/name``.
        folder: take it from there and from nowhere else: the distribution's file, the file itself, or the cache of
            another machine. A weight that is a folder stays there.
        reporter: who is told.

    Raises:
        UnknownNameError: no such weight.
        WeightError: it cannot be had; every channel that was tried is named, and where to put the file by hand.
    """
    from stvsr_bench.weights.channels import carried_by_hand, fetch_channel
    from stvsr_bench.weights.download import Silent

    reporter = reporter or Silent()
    spec = weight_spec(weight)
    if not spec.published:
        raise WeightError(f"nobody has published {weight}", got=spec.note)
    if spec.reader == "folder":
        return fetch_folder(weight, spec, folder=folder, offline=is_offline(), reporter=reporter)
    tried: list[str] = []
    if (present := _present(spec)) is not None:
        return present
    folders = [files_dir()] if folder is None else [folder]
    for kept in _kept_elsewhere(spec, folders):
        return kept
    for channel, carried in carried_by_hand(spec, folders):
        try:
            return _keep(spec, channel, carried, by_hand=True)
        except CacheError:
            raise
        except WeightError as error:
            tried.append(f"{carried.name}: {error}")
    for channel in spec.channels if folder is None else ():
        if isinstance(channel, Local) and not channel.fixed:  # looked for above, in the folders
            continue
        if is_offline() and isinstance(channel, Address | Pypi):
            tried.append(f"{channel.text}: not asked, offline")
            continue
        try:
            with fetching(carrier(channel)):
                if (present := _present(spec)) is not None:  # another process has fetched it meanwhile
                    return present
                carried = fetch_channel(channel, offline=is_offline(), reporter=reporter)
                try:
                    return _keep(spec, channel, carried)
                finally:
                    carried.close()
        except CacheError:
            raise
        except WeightError as error:
            tried.append(f"{channel.text}: {error}")
    raise _cannot_be_had(weight, spec, tried, folder)


def _present(spec: WeightSpec) -> Path | None:
    """Return the cached file where it is whole."""
    path = cached_file(spec)
    return path if path is not None and _read_cached(spec, path) is not None else None


def _kept_elsewhere(spec: WeightSpec, folders: Sequence[Path]) -> Iterator[Path]:
    """Take over the file of another machine's cache."""
    if spec.tensor_hash is None:
        return
    for folder in folders:
        path = folder / f"{spec.tensor_hash}.safetensors"
        if path.is_file() and (tensors := _read_cached(spec, path)) is not None:
            yield store(spec, tensors, spec.tensor_hash)


def _keep(spec: WeightSpec, channel: Channel, carried: Carried, *, by_hand: bool = False) -> Path:
    """Check what ``carried`` holds of ``spec``, store it, and store what else came with it."""
    path = _keep_one(spec, channel, carried, strict=not (by_hand and spec.tensor_hash))
    for other, its_channel in same_carrier(channel).values():
        if other != spec and other.reader != "folder" and cached_file(other) is None:
            # What came along uncalled-for is a gift: its own fetch reports what is wrong with it.
            with contextlib.suppress(BenchError):
                _keep_one(other, its_channel, carried, strict=True)
    return path


def _keep_one(spec: WeightSpec, channel: Channel, carried: Carried, *, strict: bool) -> Path:
    from stvsr_bench.weights.identity import tensor_hash
    from stvsr_bench.weights.readers import read_raw
    from stvsr_bench.weights.shaping import check_hash, shape_weight

    assert spec.reader is not None
    tensors = shape_weight(spec, read_raw(spec.reader, carried.files(channel, strict=strict)))
    if spec.tensor_hash is None:
        return store(spec, tensors, tensor_hash(tensors))
    check_hash(tensors, spec.tensor_hash)
    return store(spec, tensors, spec.tensor_hash)


def _cannot_be_had(weight: str, spec: WeightSpec, tried: list[str], folder: Path | None) -> WeightError:
    from stvsr_bench.weights.channels import file_names

    names = " or ".join(file_names(spec))
    where = " (offline)" if is_offline() else ""
    got = "; ".join(f"{number}. {text}" for number, text in enumerate(tried, 1))
    if folder is not None:
        return WeightError(
            f"{describe(weight, spec)} is not in '{folder}'",
            got=got or "no file of that name",
            accepted=names,
            action="put one of these files there",
        )
    by_hand = spec.source is not None and all(isinstance(channel, Local) for channel in spec.channels)
    return WeightError(
        f"{describe(weight, spec)} cannot be had{where}",
        got=got or "no file of that name",
        accepted=f"{names}, published as: {spec.source}" if by_hand else names,
        action=f"put one of these files into {files_dir()}, or name its folder: stvsr-bench fetch {weight} --from DIR",
    )
