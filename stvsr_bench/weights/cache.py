"""The cache: one safetensors file per weight, named by its tensor hash, whole or absent."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stvsr_bench.core.atomic import atomic_write, read_json, write_json
from stvsr_bench.core.errors import ResultError, WeightError
from stvsr_bench.core.hashing import digest
from stvsr_bench.core.locks import file_lock
from stvsr_bench.core.paths import WEIGHTS_VARIABLE
from stvsr_bench.core.weight_card import Hub, WeightSpec

if TYPE_CHECKING:
    from torch import Tensor


class CacheError(WeightError):
    """The cache folder cannot be used; another channel would not help."""


def cache_dir() -> Path:
    """Return the cache folder: $STVSR_BENCH_WEIGHTS, by default ``stvsr_bench`` in the Hugging Face cache."""
    given = os.environ.get(WEIGHTS_VARIABLE)
    if given:
        return Path(given).expanduser().absolute()
    from huggingface_hub.constants import HF_HOME

    return Path(HF_HOME) / "stvsr_bench"


def files_dir() -> Path:
    """Return the folder of the cache where users may put files by hand."""
    return cache_dir() / "files"


def download_file(key: str) -> Path:
    """Return where the download ``key`` is collected until it is whole; what a killed process left is continued."""
    return cache_dir() / "downloads" / f"{_short(key)}.part"


def _short(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _shaping(spec: WeightSpec) -> str:
    """Digest of what makes a weight of files, for weights that are known by their files only."""
    facts = spec.model_dump(mode="json", include={"reader", "entry", "key_map", "drop", "keys", "transpose"})
    return digest([facts, file_identity(spec)])


def file_identity(spec: WeightSpec) -> str:
    """Return the sha256 of the files of the first channel, joined, by which a weight without tensor hash is known.

    A file whose sha256 is not known is known by its place in a revision of the hub.
    """
    if not spec.channels:
        return "unpublished"
    channel = spec.channels[0]
    place = f"{channel.repository}@{channel.revision}/" if isinstance(channel, Hub) else ""
    return "+".join(file.sha256 or f"{place}{file.path}" for file in channel.files)


def record_file(spec: WeightSpec) -> Path:
    """Return where it is written down what the files of ``spec`` turned out to be on this machine."""
    return cache_dir() / "recorded" / f"{_shaping(spec)[:32]}.json"


def recorded_hash(spec: WeightSpec) -> str | None:
    """Return the tensor hash of ``spec``: the card's, or what the first reading of its files recorded here."""
    if spec.tensor_hash is not None:
        return spec.tensor_hash
    path = record_file(spec)
    return str(read_json(path)["tensor_hash"]) if path.is_file() else None


def cached_file(spec: WeightSpec) -> Path | None:
    """Return the cached file of ``spec``, or ``None``; its content is checked when it is read."""
    known = recorded_hash(spec)
    if known is None:
        return None
    path = cache_dir() / f"{known}.safetensors"
    return path if path.is_file() else None


def store(spec: WeightSpec, tensors: Mapping[str, Tensor], found_hash: str) -> Path:
    """Write ``tensors`` as the cached file of ``spec`` and return it; a weight without tensor hash gets it recorded.

    Raises:
        CacheError: the cache folder cannot be written.
    """
    import safetensors.torch

    path = cache_dir() / f"{found_hash}.safetensors"
    with our_errors(), atomic_write(path, "wb") as file:
        file.write(safetensors.torch.save(dict(tensors), metadata={"tensor_hash": found_hash}))
    if spec.tensor_hash is None:
        with our_errors():
            write_json(
                record_file(spec),
                {"name": spec.name, "files": file_identity(spec), "tensor_hash": found_hash},
            )
    return path


@contextlib.contextmanager
def fetching(key: str) -> Iterator[None]:
    """Hold the lock on the download ``key``, waiting while another process fetches the same.

    Raises:
        CacheError: the cache folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        with our_errors():
            stack.enter_context(file_lock(cache_dir() / "locks" / f"{_short(key)}.lock"))
        yield


@contextlib.contextmanager
def our_errors() -> Iterator[None]:
    """Turn what the file system refuses inside the block into :class:`CacheError`."""
    try:
        yield
    except ResultError as error:
        raise cache_error(error.got) from error
    except OSError as error:
        raise cache_error(error.strerror or str(error)) from error


def cache_error(reason: str | None) -> CacheError:
    """Return the error of a cache folder that cannot be written for ``reason``."""
    return CacheError(
        f"the weights cache '{cache_dir()}' cannot be written",
        got=reason,
        accepted="a writable folder with free space",
        action=f"free space, or name another folder: export {WEIGHTS_VARIABLE}=DIR",
    )
