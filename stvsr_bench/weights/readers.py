"""Restricted readers: what a file of parameters may hold, and nothing that it asks for is run."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch

from stvsr_bench.core.errors import WeightError
from stvsr_bench.core.weight_card import Reader
from stvsr_bench.weights.numpy_pickle import read_numpy_pickle

_DAMAGE = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError, AttributeError, IndexError, AssertionError),
    *(OverflowError, struct.error, zlib.error, zipfile.BadZipFile, safetensors.SafetensorError),
)
"""What libraries raise for a file that is damaged or of another kind."""


@dataclass(frozen=True)
class RawFile:
    """A file of parameters before it is read.

    Attributes:
        name: its path inside its source, for messages.
        content: its bytes, or where it lies.
    """

    name: str
    content: bytes | Path

    @property
    def data(self) -> bytes:
        """Its bytes."""
        return self.content.read_bytes() if isinstance(self.content, Path) else self.content


def read_raw(reader: Reader, files: Sequence[RawFile]) -> Mapping[str, Any]:
    """Return what the files hold: tensors or arrays by name, possibly inside the entries of a checkpoint.

    Args:
        reader: how to read.
        files: one file; for ``ncnn`` the ``.param`` and the ``.bin``.

    Raises:
        WeightError: a file is damaged, is of another kind, or asks for a class that is not allowed.
    """
    if reader == "ncnn":
        from stvsr_bench.weights.ncnn import read_ncnn

        by_suffix = {PurePosixPath(file.name).suffix: file for file in files}
        return read_ncnn(by_suffix[".param"].data, by_suffix[".bin"].data)
    (file,) = files
    try:
        return _read(reader, file)
    except WeightError as error:
        raise WeightError(
            f"'{file.name}': {error.what}", got=error.got, accepted=error.accepted, action=error.action
        ) from error


def _read(reader: Reader, file: RawFile) -> Mapping[str, Any]:
    try:
        match reader:
            case "safetensors":
                return safetensors.torch.load(file.data)
            case "npz":
                with np.load(io.BytesIO(file.data), allow_pickle=False) as archive:
                    if not isinstance(archive, np.lib.npyio.NpzFile):
                        raise ValueError("one bare array, not an archive of named ones")
                    return {name: archive[name] for name in archive.files}
            case "numpy_pickle":
                return read_numpy_pickle(file.data)
            case "mat":
                from stvsr_bench.weights.mat import read_mat

                return read_mat(file.data)
            case _:
                return _read_torch(file)
    except _DAMAGE as error:
        first = (str(error).strip() or "it ends early").splitlines()[0][:300]
        raise WeightError(
            f"this cannot be read as {reader}",
            got=f"{type(error).__name__}: {first}",
            action="the file is damaged or of another kind: fetch it again",
        ) from error


def _read_torch(file: RawFile) -> Mapping[str, Any]:
    try:
        value = torch.load(io.BytesIO(file.data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightError(
            "this is no file of tensors only; nothing of it was run",
            got=_complaint(str(error)),
            accepted="a state dict that torch reads with weights_only",
            action="do not use this file; take the one that the card names",
        ) from error
    if isinstance(value, torch.Tensor):
        return {"tensor": value}  # one without a name
    if not isinstance(value, Mapping):
        raise WeightError("this holds no state dict", got=type(value).__name__, accepted="names and tensors")
    return value


def _complaint(text: str) -> str:
    """Return what torch says of the file, without its advice to load it unsafely."""
    advice = ("Weights only load failed", "Please file an issue", "Check the documentation", "Re-running")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith(advice)]
    return (lines[0] if lines else "an unknown pickle")[:300]
