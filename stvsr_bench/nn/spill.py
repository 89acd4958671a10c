"""Tensors of one shape that wait outside the working memory: in host memory, or in an unnamed temporary file."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from stvsr_bench.core.spool import Spool


class Spill(ABC):
    """Numbered tensors of one shape, dtype and layout; what comes back is equal to the bit.

    A context manager: leaving it frees everything.
    """

    @abstractmethod
    def put(self, number: int, tensor: Tensor) -> None:
        """Keep ``tensor``, from any device.

        Raises:
            OSError: there is no room.
        """

    @abstractmethod
    def take(self, number: int) -> Tensor:
        """Return tensor ``number`` on the CPU, once."""

    @abstractmethod
    def close(self) -> None:
        """Free everything."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class MemorySpill(Spill):
    """In host memory, which grows with every tensor put and shrinks with every one taken."""

    def __init__(self) -> None:
        self._kept: dict[int, Tensor] = {}

    def put(self, number: int, tensor: Tensor) -> None:
        self._kept[number] = tensor.cpu()

    def take(self, number: int) -> Tensor:
        return self._kept.pop(number)

    def close(self) -> None:
        self._kept.clear()


class DiskSpill(Spill):
    """In an unnamed temporary file, which the system keeps in memory it has to spare and which ends with the process.

    Args:
        folder: where the file lies; default: the system's temporary folder (``$TMPDIR``).
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self._folder = folder
        self._spool: Spool | None = None
        self._form = torch.empty(0)

    def put(self, number: int, tensor: Tensor) -> None:
        tensor = tensor.cpu()
        if self._spool is None:
            self._form = torch.empty_like(tensor, device="meta")
            self._spool = Spool(tensor.numel() * tensor.element_size(), self._folder)
        if tensor.stride() != self._form.stride():
            tensor = torch.empty_like(self._form, device="cpu").copy_(tensor)
        self._spool.put(number, _bytes(tensor))

    def take(self, number: int) -> Tensor:
        if self._spool is None:
            raise KeyError(number)
        tensor = torch.empty_like(self._form, device="cpu")
        self._spool.get(number, _bytes(tensor))
        return tensor

    def close(self) -> None:
        if self._spool is not None:
            self._spool.close()


def _bytes(tensor: Tensor) -> memoryview:
    """The memory of a dense tensor, in whatever order its axes lie."""
    return tensor.as_strided((tensor.numel(),), (1,)).numpy().data.cast("B")
