"""A folder of image files as a clip."""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from stvsr_bench.core.errors import ClipError
from stvsr_bench.video.clip import Clip, Frames
from stvsr_bench.video.images import ImageArray, read_image
from stvsr_bench.video.names import IMAGE_EXTS, is_litter, natural_key

_SAME = {".jpeg": ".jpg", ".tiff": ".tif"}


def list_frames(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the image files of ``folder`` (not below it) in natural order; hidden files and litter are left out.

    Raises:
        ClipError: the folder is absent, holds no image, or holds images of more than one kind.
    """
    return _scan(Path(folder))[0]


def _scan(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the frames of ``folder`` in natural order and the names of files that are not frames."""
    try:
        entries = [e for e in os.scandir(folder) if not is_litter(e.name)]
        dead = sorted((e.name for e in entries if e.is_symlink() and not os.path.exists(e.path)), key=natural_key)
        names = [e.name for e in entries if e.name not in dead and e.is_file()]
    except OSError as error:
        raise ClipError(
            f"cannot list the frames in '{folder}'", got=error.strerror or str(error), accepted="a folder of images"
        ) from error
    lost = [n for n in dead if Path(n).suffix.lower() in IMAGE_EXTS]
    if lost:
        raise ClipError(
            f"frames of '{folder}' are links that lead nowhere or in a circle",
            got=", ".join(lost[:3]) + (f" and {len(lost) - 3} more" if len(lost) > 3 else ""),
            accepted="files, or links to files that are there",
            action="correct the links, or remove them if they are no frames",
        )
    frames = sorted((n for n in names if Path(n).suffix.lower() in IMAGE_EXTS), key=natural_key)
    others = sorted(set(names) - set(frames), key=natural_key)
    if not frames:
        raise ClipError(
            f"the folder '{folder}' holds no frame",
            got=f"{len(others)} other files and {len(entries) - len(names)} folders",
            accepted="image files ending in " + ", ".join(IMAGE_EXTS),
            action="name the folder that holds the images themselves",
        )
    kinds = Counter(_SAME.get(s, s) for s in (Path(n).suffix.lower() for n in frames))
    if len(kinds) > 1:
        raise ClipError(
            f"the folder '{folder}' mixes image formats",
            got=", ".join(f"{count} {kind}" for kind, count in kinds.most_common()),
            accepted="one format, so that one clip is not read twice",
            action="move one of them to another folder",
        )
    return [folder / n for n in frames], others


def _numbering_note(paths: Sequence[Path]) -> str | None:
    """Say that the numbers in the names are not evenly spaced, where that is so."""
    found = [re.findall(r"\d+", p.stem) for p in paths]
    if not all(found):
        return None
    numbers = [int(f[-1]) for f in found]
    steps = [b - a for a, b in itertools.pairwise(numbers)]
    if len(set(steps)) <= 1:
        return None
    usual = Counter(steps).most_common(1)[0][0]
    odd = next(i for i, s in enumerate(steps) if s != usual)
    return f"frame numbers are not evenly spaced ('{paths[odd + 1].name}' follows '{paths[odd].name}')"


class FrameFolderClip(Clip):
    """The images of one folder, in natural order, decoded when they are read.

    Height, width and notes come from the first frame; every other frame is checked against it when it is read.

    Attributes:
        foreign: names of the files in the folder that are no images.

    Args:
        folder: the folder of images.
        name: the clip's name; default: the folder's.
        frame_rate: frames per second; a folder does not say.

    Raises:
        ClipError: no frame, more than one image format, or a first frame that cannot be decoded.
    """

    def __init__(
        self, folder: str | os.PathLike[str], name: str | None = None, frame_rate: Fraction | None = None
    ) -> None:
        self.folder = Path(folder)
        # Absolute but not resolved: the clip is named after the path that the user gave, links included.
        self.name = name if name is not None else Path(os.path.abspath(folder)).name
        self.frame_rate = frame_rate
        self._paths, others = _scan(self.folder)
        self.foreign = tuple(others)
        first, notes = read_image(self._paths[0])
        self.height, self.width = first.shape[1:]
        extra = [_numbering_note(self._paths)]
        if others:
            shown = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
            extra.append(f"{len(others)} files that are no images were left out: {shown}")
        self.notes = notes + tuple(n for n in extra if n is not None)

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, indices: Sequence[int]) -> Frames:
        frames = np.empty((len(indices), 3, self.height, self.width), np.uint8)
        for position, index in enumerate(indices):
            frames[position] = self._decode(index)
        return torch.from_numpy(frames)

    def _decode(self, index: int) -> ImageArray:
        image, _ = read_image(self._paths[index])
        if image.shape[1:] != (self.height, self.width):
            raise ClipError(
                f"clip '{self.name}': frame {index} ('{self._paths[index]}') has another size",
                got=f"{image.shape[2]}x{image.shape[1]}",
                accepted=f"{self.width}x{self.height}, as '{self._paths[0].name}'",
                action="all frames of a clip must have one size",
            )
        return image

    def files(self) -> Sequence[str]:
        return [str(p) for p in self._paths]

    @property
    def key(self) -> str:
        return "frames@1"
