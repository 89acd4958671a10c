"""What a clip-level metric keeps of a clip: small pictures of a few frames, filled in while the frames stream by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch

from stvsr_bench.core.seeding import derive_seed
from stvsr_bench.metrics.batch import FrameBatch
from stvsr_bench.metrics.functional.fragments import SIDE, cut_fragments, enlarge, fragment_offsets, small_copy

Grid = Literal["reference", "fixed"]
"""Which size the grid of fragments is laid on where frames must be enlarged: the one before (as the reference does, so
that the fragments come from the top left part), or the one after."""
Sampler = Callable[[int, np.random.RandomState], tuple[int, ...]]
"""Picks frames of a clip: called with their count and a generator."""


class ClipView(ABC):
    """A view of a clip, uint8 RGB ``(3, T, 224, 224)``.

    Args:
        name: of the view and how it is made; with the clip's name it seeds the draws.
        clip: the clip's name.
        frames: how many frames the clip has.
        sampler: which of them are wanted, in the order of the view.
        device: where it lies.
    """

    def __init__(self, name: str, clip: str, frames: int, sampler: Sampler, device: torch.device) -> None:
        self.seed = derive_seed(0, clip, name)
        self.indices = sampler(frames, np.random.RandomState(self.seed % 2**32))
        self.pixels = torch.zeros(3, len(self.indices), SIDE, SIDE, dtype=torch.uint8, device=device)
        self._feature = f"view.{name}@1.{clip}.{frames}"
        self._places: defaultdict[int, list[int]] = defaultdict(list)
        for place, frame in enumerate(self.indices):
            self._places[frame].append(place)

    def observe(self, batch: FrameBatch, position: int) -> None:
        """Take what the view needs of ``batch``, whose first frame is the clip's frame number ``position``."""
        wanted = {i: self._places[position + i] for i in range(len(batch)) if position + i in self._places}
        if not wanted:
            return

        def make() -> torch.Tensor:
            frames = batch.u8("pred")
            return torch.cat([self.pictures(frames[i], places) for i, places in wanted.items()])

        pictures = batch.feature("pred", f"{self._feature}.{position}", make)
        places = [place for some in wanted.values() for place in some]
        self.pixels[:, places] = pictures.transpose(0, 1)

    @abstractmethod
    def pictures(self, frame: torch.Tensor, places: Sequence[int]) -> torch.Tensor:
        """Return what stands at each of ``places`` of the view, ``(len(places), 3, 224, 224)``, made of ``frame``."""


class FragmentView(ClipView):
    """7×7 fragments of 32×32 pixels at original size, whose offsets change every ``aligned`` frames of the view.

    Args:
        name: see :class:`ClipView`.
        clip: see :class:`ClipView`.
        frames: see :class:`ClipView`.
        sampler: see :class:`ClipView`.
        size: rows and columns of the clip's frames.
        aligned: frames that share their offsets.
        grid: where the grid is laid if frames must be enlarged.
        device: see :class:`ClipView`.
    """

    def __init__(
        self,
        name: str,
        clip: str,
        frames: int,
        sampler: Sampler,
        *,
        size: tuple[int, int],
        aligned: int,
        grid: Grid,
        device: torch.device,
    ) -> None:
        # the same seed for both grids, so that they differ in nothing else
        super().__init__(name, clip, frames, sampler, device)
        self._feature += f".{grid}"
        self.size = size
        if grid == "fixed":
            height, width = enlarge(torch.zeros(3, *size, dtype=torch.uint8)).shape[1:]
            self.size = int(height), int(width)
        self.aligned = aligned
        blocks = -(-len(self.indices) // aligned)
        generator = torch.Generator().manual_seed(self.seed)
        self.offsets = fragment_offsets(*self.size, blocks, generator)

    def pictures(self, frame: torch.Tensor, places: Sequence[int]) -> torch.Tensor:
        large = enlarge(frame)
        blocks = [place // self.aligned for place in places]
        cut = {block: cut_fragments(large, self.size, self.offsets[..., block]) for block in set(blocks)}
        return torch.stack([cut[block] for block in blocks])


class SmallView(ClipView):
    """Frames resized to 224×224.

    Args:
        name: see :class:`ClipView`.
        clip: see :class:`ClipView`.
        frames: see :class:`ClipView`.
        sampler: see :class:`ClipView`.
        antialias: whether the filter grows with the frame.
        device: see :class:`ClipView`.
    """

    def __init__(
        self, name: str, clip: str, frames: int, sampler: Sampler, *, antialias: bool, device: torch.device
    ) -> None:
        super().__init__(name, clip, frames, sampler, device)
        self._feature += f".{'antialias' if antialias else 'plain'}"
        self.antialias = antialias

    def pictures(self, frame: torch.Tensor, places: Sequence[int]) -> torch.Tensor:
        return small_copy(frame, antialias=self.antialias).expand(len(places), -1, -1, -1)
