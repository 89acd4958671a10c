"""Features of ground-truth frames kept on disk, so that the second method on a dataset does not pay for them."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from stvsr_bench.core.atomic import TEMPORARY_PREFIX, atomic_write
from stvsr_bench.core.errors import ResultError
from stvsr_bench.core.slug import slug

_LOG = logging.getLogger(__name__)
_SUFFIX = ".safetensors"
_ABANDONED = 3600.0  # seconds after which a temporary file belongs to nobody: one takes less than a second to write
_WAITING = 4  # features that may wait for the disk; each is some megabytes


class FeatureStore:
    """Tensors by the digest of the pixels they were made from, exact to the last bit.

    A file is ``<folder>/<feature>@<version>/<environment>/<digest>.safetensors``. The environment (torch, OpenCV,
    device) is part of the name because the same arithmetic may round otherwise elsewhere. Files are written whole or
    not at all by a thread of their own; a store that cannot be written, or has reached its limit, goes on without.

    Args:
        folder: where the files of one dataset lie; created when first written to.
        limit_bytes: no file is added beyond this total.

    Attributes:
        hits: features read from disk.
        misses: features that had to be computed.
        note: why something was not kept, or ``None``.
    """

    def __init__(self, folder: Path, limit_bytes: int = 20 << 30) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self.hits = self.misses = 0
        self.note: str | None = None
        self._used: int | None = None
        self._queue: queue.Queue[tuple[Path, list[torch.Tensor]] | None] = queue.Queue(_WAITING)
        self._writer: threading.Thread | None = None

    def get(
        self,
        key: str,
        digests: Sequence[bytes],
        function: Callable[[Sequence[int]], list[torch.Tensor]],
        device: torch.device,
    ) -> list[torch.Tensor]:
        """Return the feature ``key`` of the frames or pairs with these ``digests``.

        Args:
            key: name and version of the feature.
            digests: of the pixels, one for each entry.
            function: computes the tensors of the entries at some positions, in front one entry for each.
            device: where the tensors are wanted.
        """
        folder = self.folder / slug(key) / _environment(device)
        paths = [folder / f"{digest.hex()}{_SUFFIX}" for digest in digests]
        stored = [_load(path) for path in paths]
        missing = [i for i, tensors in enumerate(stored) if tensors is None]
        self.hits += len(stored) - len(missing)
        self.misses += len(missing)
        if missing:
            made = function(missing)
            if len(missing) == len(paths):
                for i in missing:
                    self._put(paths[i], [tensor[i : i + 1] for tensor in made])
                return made
            for position, i in enumerate(missing):
                stored[i] = [tensor[position : position + 1] for tensor in made]
                self._put(paths[i], stored[i] or [])
        parts = [tensors for tensors in stored if tensors is not None]
        return [torch.cat([tensor.to(device) for tensor in column]) for column in zip(*parts, strict=True)]

    def close(self) -> None:
        """Wait until everything is on disk."""
        if self._writer is not None:
            self._queue.put(None)
            self._writer.join()
            self._writer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _put(self, path: Path, tensors: list[torch.Tensor]) -> None:
        if self.note is not None:
            return
        if self._writer is None:
            self._writer = threading.Thread(target=self._write, daemon=True)
            self._writer.start()
        # copies, so that the batch they are views of can be freed
        self._queue.put((path, [tensor.detach().cpu().clone() for tensor in tensors]))

    def _write(self) -> None:
        while (item := self._queue.get()) is not None:
            path, tensors = item
            if self.note is not None or path.exists():
                continue
            data = save({str(i): tensor.contiguous() for i, tensor in enumerate(tensors)})
            if self._used is None:
                self._used = _size(self.folder)
            if self._used + len(data) > self.limit_bytes:
                self.note = f"the features kept in {self.folder} have reached {self.limit_bytes / 2**30:g} GiB"
                continue
            try:
                with atomic_write(path, "wb") as file:
                    file.write(data)
                self._used += len(data)
            except ResultError as error:
                self.note = f"features of the ground truth are not kept: {error}"
        if self.note is not None:
            _LOG.warning(self.note)


def _load(path: Path) -> list[torch.Tensor] | None:
    try:
        tensors = load_file(path)
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError):  # damaged: it is made again
        with suppress(OSError):
            path.unlink()
        return None
    return [tensors[str(i)] for i in range(len(tensors))]


def _environment(device: torch.device) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    return slug(f"torch{torch.__version__}-opencv{cv2.__version__}-{device.type}-{name}")


def _size(folder: Path) -> int:
    """Bytes of the files below ``folder``; what killed processes left half-written is removed."""
    total = 0
    for root, _, files in os.walk(folder):
        for file in files:
            path = os.path.join(root, file)
            with suppress(OSError):
                state = os.stat(path)
                if file.startswith(TEMPORARY_PREFIX) and state.st_mtime < time.time() - _ABANDONED:
                    os.unlink(path)
                    continue
                total += state.st_size
    return total
