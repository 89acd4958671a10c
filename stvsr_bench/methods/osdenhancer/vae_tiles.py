"""Tiles of the VAE: where they lie, which sizes fit the latent grid, and how they become one, as diffusers does it.

Every tile is blended into a border of the tile above and then of the tile to the left, both already blended
themselves, and what the next tiles will cover is cut off. Here a tile goes to its place as soon as it is computed, so
that only one tile, and the lower borders of one row, wait on the device; the values are those of diffusers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from stvsr_bench.core.errors import ConfigError

GRID = 8
"""Pixels per latent along a side."""

OVERLAP = (1 / 6, 1 / 5)
"""Share of a tile's height and width that it has in common with the next, as diffusers sets it for CogVideoX."""

Pair = tuple[int, int]
Blend = Callable[[Tensor, Tensor, int], Tensor]


@dataclass(frozen=True)
class Tiling:
    """Tiles of a frame that is being coded; heights and widths of the source's grid, or of the result's.

    Attributes:
        tile: size of a tile (source).
        stride: from one tile to the next (source).
        blend: border that is blended (result).
        keep: what a tile contributes at most (result).
    """

    tile: Pair
    stride: Pair
    blend: Pair
    keep: Pair

    @classmethod
    def encoding(cls, pixels: Pair, latents: Pair, overlap: tuple[float, float]) -> Tiling:
        """Tiles of ``pixels``, which become ``latents``; ``overlap`` is the share of a side."""
        return cls._of(pixels, latents, overlap)

    @classmethod
    def decoding(cls, pixels: Pair, latents: Pair, overlap: tuple[float, float]) -> Tiling:
        """The same, from ``latents`` to ``pixels``."""
        return cls._of(latents, pixels, overlap)

    @classmethod
    def _of(cls, source: Pair, result: Pair, overlap: tuple[float, float]) -> Tiling:
        stride = tuple(int(side * (1 - share)) for side, share in zip(source, overlap, strict=True))
        blend = tuple(int(side * share) for side, share in zip(result, overlap, strict=True))
        keep = tuple(side - border for side, border in zip(result, blend, strict=True))
        return cls(source, (stride[0], stride[1]), (blend[0], blend[1]), (keep[0], keep[1]))

    def splits(self, source: Tensor) -> bool:
        """Whether ``source`` ``(…, h, w)`` is larger than one tile."""
        return source.shape[-2] > self.tile[0] or source.shape[-1] > self.tile[1]

    def count(self, source: Tensor) -> int:
        """Number of tiles of ``source`` ``(…, h, w)``."""
        return len(self._starts(source, 0)) * len(self._starts(source, 1))

    def _starts(self, source: Tensor, axis: int) -> range:
        return range(0, source.shape[axis - 2], self.stride[axis])

    def merge(
        self, source: Tensor, code: Callable[[Tensor], Tensor], blend_v: Blend, blend_h: Blend, place: torch.device
    ) -> Tensor:
        """Code ``source`` ``(B, C, T, h, w)`` tile by tile.

        Args:
            source: where it lies does not matter to this function.
            code: turns one tile into its result.
            blend_v: writes the blend of two tiles' border into the second, below the first; stock.
            blend_h: the same for a tile to the right.
            place: where the whole result is kept.
        """
        rows = []
        above: list[Tensor] = []  # the lower borders of the row above
        for top in self._starts(source, 0):
            borders, row, left = [], [], None
            for j, start in enumerate(self._starts(source, 1)):
                tile = code(source[..., top : top + self.tile[0], start : start + self.tile[1]])
                if above:
                    tile = blend_v(above[j], tile, self.blend[0])
                if left is not None:
                    tile = blend_h(left, tile, self.blend[1])
                row.append(tile[..., : self.keep[0], : self.keep[1]].to(place))
                borders.append(_end(tile, self.blend[0], -2))
                left = _end(tile, self.blend[1], -1)
            rows.append(torch.cat(row, -1))
            above = borders
        return torch.cat(rows, -2)


def _end(tile: Tensor, border: int, axis: int) -> Tensor:
    """A copy of the last ``border`` rows or columns, so that the tile itself can go."""
    length = min(border, tile.shape[axis])
    return tile.narrow(axis, tile.shape[axis] - length, length).clone()


def check_tile(pixels: Pair, overlap: tuple[float, float]) -> None:
    """Refuse tiles whose pixels, latents, strides and borders do not meet on one grid.

    Args:
        pixels: height and width of a tile.
        overlap: share of the height and of the width that neighbouring tiles have in common.

    Raises:
        ConfigError: a side does not fit; it names those nearby that do.
    """
    wrong = [i for i in (0, 1) if not _fits(pixels[i], overlap[i])]
    if not wrong:
        return
    names = ("height", "width")
    raise ConfigError(
        f"VAE tiles of {pixels[0]}x{pixels[1]} pixels cannot be joined",
        got=" and ".join(f"{names[i]} {pixels[i]} with an overlap of {overlap[i]:.4g}" for i in wrong),
        accepted="; ".join(f"{names[i]}s such as {_nearby(pixels[i], overlap[i])}" for i in wrong),
        action="tile, overlap and stride must be whole latents of 8 pixels",
    )


def _fits(side: int, share: float) -> bool:
    if side < GRID or side % GRID or not 0 <= share < 1:
        return False
    latents = side // GRID
    keep = latents - int(latents * share)
    return int(side * (1 - share)) == keep * GRID == side - int(side * share) and int(latents * (1 - share)) == keep


def _nearby(side: int, share: float) -> str:
    def first(sides: Iterator[int] | range) -> list[int]:
        return [fit for fit in sides if _fits(fit, share)][:2]

    middle = max(side, GRID) // GRID * GRID
    below = first(range(middle, 0, -GRID))[::-1]
    above = first(range(middle + GRID, middle + 200 * GRID, GRID))
    return ", ".join(map(str, below + above)) or "none with this overlap"
