"""Names of files that hold frames or videos, and their order; read by what must start without torch."""

from __future__ import annotations

import re

IMAGE_EXTS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
"""Endings of the image files that count as frames (any case)."""

VIDEO_EXTS = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv",
    ".y4m",
)  # fmt: skip
"""Endings of the files that count as videos (any case)."""

LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
"""Files and folders that systems leave among others, in lower case; hidden ones are litter too."""


def is_litter(name: str) -> bool:
    """Say whether a file or folder of this name is no part of any dataset.

    >>> is_litter(".DS_Store"), is_litter("Thumbs.db"), is_litter("walk")
    (True, True, False)
    """
    return name.startswith(".") or name.casefold() in LITTER


def natural_key(text: str) -> tuple[tuple[str | int, ...], str]:
    """Return a sort key under which numbers inside names count as numbers.

    >>> sorted(["f10.png", "f9.png", "F1.png"], key=natural_key)
    ['F1.png', 'f9.png', 'f10.png']
    """
    # Splitting at a group of decimals alternates text and number, so keys compare part by part without type clashes.
    parts = re.split(r"(\d+)", text)
    return tuple(int(p) if i % 2 else p.casefold() for i, p in enumerate(parts)), text
