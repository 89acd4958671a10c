"""Rotary positions of the image tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from torch import Tensor

from stvsr_bench.methods.osdenhancer.transformer_config import TransformerConfig

Rope = tuple[Tensor, Tensor]
"""Cosines and sines, each float32 ``(N, head_dim)``, of N image tokens in the order (t, h, w)."""

Point = tuple[int, int]


def rope_tables(
    config: Mapping[str, Any] | TransformerConfig,
    frames: int,
    height: int,
    width: int,
    device: torch.device | str | None = None,
) -> Rope:
    """Rotary tables for latents of a size.

    With ``patch_size_t`` the positions are whole numbers on each axis, whatever the size (stock pipelines cut them at
    the size trained on, which fails for larger inputs); without, they are spread over the part of the trained grid that
    has the input's shape. A quarter of a head's channels turns with time, three eighths with each side.

    Args:
        config: of the transformer.
        frames: of the latents, with the one put before them.
        height: of the latents.
        width: of the latents.
        device: where the tables are made.

    Raises:
        ConfigError: the configuration is wrong.
    """
    config = TransformerConfig.of(config)
    grid = (height // config.patch_size, width // config.patch_size)
    if config.patch_size_t is not None:
        options: dict[str, Any] = {"crops_coords": None, "grid_type": "slice", "max_size": grid}
    else:
        trained = (config.sample_height // config.patch_size, config.sample_width // config.patch_size)
        options = {"crops_coords": _crop(grid, trained)}
    cosines, sines = get_3d_rotary_pos_embed(
        config.attention_head_dim,
        grid_size=grid,
        temporal_size=-(-frames // config.token_frames),
        device=None if device is None else torch.device(device),
        **options,
    )
    return cosines, sines


def _crop(grid: Point, trained: Point) -> tuple[Point, Point]:
    """First and last corner, (row, column), of the centred part of ``trained`` that has the shape of ``grid``.

    Source: ``get_resize_crop_region_for_grid`` of the CogVideoX pipeline of diffusers, whose module imports a text
    encoder that is not needed here.
    """
    (height, width), (rows, columns) = grid, trained
    if height / width > rows / columns:
        size = (rows, round(rows / height * width))
    else:
        size = (round(columns / width * height), columns)
    top, left = round((rows - size[0]) / 2), round((columns - size[1]) / 2)
    return (top, left), (top + size[0], left + size[1])
