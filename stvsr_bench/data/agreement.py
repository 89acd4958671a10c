"""How far two makings of the same LQ set agree: to the bit, but for a codec build, or not at all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from stvsr_bench.core.errors import DataError
from stvsr_bench.data.generated_store import StoredSet
from stvsr_bench.video.clip import Clip, Frames

if TYPE_CHECKING:
    from stvsr_bench.degradation.clipwise import ClipDegradation

SAME_RECIPE_DB = 50.0
"""PSNR above which two LQ clips have the same recipe and differ by a codec build or instruction set only."""

BLOCK = 8


@dataclass(frozen=True)
class Agreement:
    """How far the frames of two LQ clips agree.

    Attributes:
        frames: frames compared.
        identical: frames that are equal to the bit.
        worst: lowest PSNR of a frame over all its RGB samples, in dB; infinite where all are identical.
        mean: mean of the frames' PSNR over those that differ, in dB; infinite where all are identical.
    """

    frames: int
    identical: int
    worst: float
    mean: float

    @property
    def same_recipe(self) -> bool:
        """Whether the two can be makings of one recipe."""
        return self.worst > SAME_RECIPE_DB

    @property
    def text(self) -> str:
        """One line for people."""
        if self.identical == self.frames:
            return f"all {self.frames} frames identical"
        what = "the same recipe with another codec or library build" if self.same_recipe else "another recipe"
        return (
            f"{self.identical} of {self.frames} frames identical, the others {self.mean:.1f} dB on average and "
            f"{self.worst:.1f} dB at worst: {what}"
        )


def compare_sets(first: StoredSet, second: StoredSet) -> Agreement:
    """Compare the pixels of two stored sets of one clip.

    Raises:
        DataError: their numbers of frames or sizes differ, or one of them was changed.
    """
    return _compare(first.record.clip, first.clip(), second.clip().blocks(BLOCK))


def reproduce(stored: StoredSet, gt: Clip, degradation: ClipDegradation) -> Agreement:
    """Make an LQ set again from its own recipe with the libraries of this machine, and compare; nothing is stored.

    Args:
        stored: for instance an imported set.
        gt: the ground truth that it was made from.
        degradation: the one of the recipe.

    Raises:
        DataError: ``gt`` has another size or number of frames, or the set was changed.
    """
    record = stored.record
    if (len(gt), (gt.height, gt.width)) != (record.frames, record.gt_size):
        raise DataError(
            f"clip '{gt.name}' is not what the LQ set '{stored.folder}' was made from",
            got=f"{len(gt)} frames of {gt.width}×{gt.height}",
            accepted=f"{record.frames} frames of {record.gt_size[1]}×{record.gt_size[0]}",
        )
    return _compare(gt.name, stored.clip(), degradation.apply(dict(stored.recipe), gt.blocks(BLOCK)))


def _compare(name: str, first: Clip, second: Iterable[Frames]) -> Agreement:
    values: list[float] = []
    count = 0
    for frame in _frames(second):
        count += 1
        if count > len(first) or tuple(frame.shape) != (3, first.height, first.width):
            break
        error = float((first[count - 1].to(torch.float64) - frame).square().mean())
        values.append(math.inf if error == 0 else 10 * math.log10(255**2 / error))
    if not len(values) == len(first) == count:
        raise DataError(
            f"two LQ sets of clip '{name}' cannot be compared",
            got=f"{len(first)} and {count} frames, or other sizes",
            accepted="equal numbers of frames and equal sizes",
        )
    differing = [value for value in values if value < math.inf]
    mean = math.inf if not differing else sum(differing) / len(differing)
    return Agreement(len(values), len(values) - len(differing), min(values), mean)


def _frames(blocks: Iterable[Frames]) -> Iterator[torch.Tensor]:
    for block in blocks:
        yield from block
