"""Fixtures that write small clips."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

MakeClip = Callable[..., Path]


@pytest.fixture
def make_clip() -> MakeClip:
    """Write ``frames`` PNG files of ``size`` (rows, columns); frame i holds the value ``first + i`` everywhere."""

    def make(folder: Path, frames: int = 3, size: tuple[int, int] = (8, 12), name: str = "{:04d}.png", first: int = 0):
        folder.mkdir(parents=True)
        for i in range(frames):
            data = cv2.imencode(".png", np.full((*size, 3), first + i, np.uint8))[1]
            (folder / name.format(i)).write_bytes(data.tobytes())
        return folder

    return make


@pytest.fixture
def touch() -> Callable[..., None]:
    """Make empty files (layout detection reads names only)."""

    def make(root: Path, *names: str) -> None:
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    return make


@pytest.fixture
def make_numbered() -> MakeClip:
    """Write PNG files with given names; the file of the i-th name holds the value ``first + i`` everywhere."""

    def make(folder: Path, names: list[str], size: tuple[int, int] = (8, 12), first: int = 0) -> Path:
        folder.mkdir(parents=True)
        for i, name in enumerate(names):
            data = cv2.imencode(".png", np.full((*size, 3), first + i, np.uint8))[1]
            (folder / name).write_bytes(data.tobytes())
        return folder

    return make
