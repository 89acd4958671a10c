"""How much memory each network of DiffST works in, beside its parameters: estimates, before any work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stvsr_bench.methods.diffst.aggregation import FUSION_PIXELS, MID_PIXELS
from stvsr_bench.methods.diffst.flow import KEY_PIXELS
from stvsr_bench.methods.diffst.wan import GRID


def working_bytes(
    part: str,
    frame: tuple[int, int, int],
    scale: float,
    size: int,
    transformer: Mapping[str, Any],
    vae: Mapping[str, Any],
    *,
    dape: tuple[int, int, int],
    vae_tile: int | None,
    psi_width: int,
    kept: bool,
) -> int:
    """Most bytes that one part works in.

    Args:
        part: its name.
        frame: frames, height and width of the padded output of a chunk, pixels.
        scale: φs.
        size: bytes per value.
        transformer: its configuration.
        vae: its configuration.
        dape: frames that DAPE sees at once, their side in pixels, and its channels at the finest level.
        vae_tile: side of the VAE's tiles, pixels; ``None``: whole frames.
        psi_width: channels of Ψ, 0 without it.
        kept: the decoded video waits on the device.
    """
    count, height, width = frame
    small = int(height * width / scale**2)
    match part:
        case "flow":  # correlations of every eighth pixel with every other, at four levels, and features
            pixels = max(small, 128 * 128)
            pairs = 2 * max(KEY_PIXELS // pixels, 1)
            return int(pairs * ((pixels // 64) ** 2 * 4 * 4 / 3 * 2 + pixels * 400))
        case "cfca":
            mid = max(MID_PIXELS, small) * 600
            return mid + max(FUSION_PIXELS, small) * psi_width * 6 * size
        case "dape":
            frames, pixels, width = dape
            return frames * (pixels // 4) ** 2 * width * 40 * size
        case "guidance":
            return 64 << 20
        case "transformer":
            tokens = ((count - 1) // 4 + 1) * (height // (2 * GRID)) * (width // (2 * GRID))
            inner = int(transformer["num_attention_heads"]) * int(transformer["attention_head_dim"])
            hidden = 2 * int(transformer["ffn_dim"]) * size
            return tokens * (inner * (6 * size + 3 * 4) + hidden)
        case _:
            side = (height, width) if vae_tile is None else (min(height, vae_tile), min(width, vae_tile))
            finest = int(vae["base_dim"]) * int(vae["dim_mult"][0])
            second = int(vae["base_dim"]) * int(vae["dim_mult"][1])
            video = 3 * count * height * width * size
            # four frames at a time; the finest level receives the second level's channels, and causal convolutions
            # keep two frames of every layer
            piece = 4 * side[0] * side[1] * (2 * second + 4 * finest) * size
            history = 2 * side[0] * side[1] * 8 * finest * size
            if vae_tile is not None and max(height, width) > vae_tile:  # the tiles, joined, and limited, on the device
                return piece + history + 4 * video
            return piece + history + (2 if kept else 1) * video
