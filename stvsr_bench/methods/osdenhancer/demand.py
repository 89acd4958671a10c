"""How much memory the two networks of OSDEnhancer work in, beside their parameters: estimates, before any work.

The factors bound what was counted at full width, tensor by tensor, on the meta device; the VAE's also leave room for
what convolutions unfold.
"""

from __future__ import annotations

from stvsr_bench.methods.osdenhancer.blocks import CHUNK_TOKENS
from stvsr_bench.methods.osdenhancer.transformer_config import TransformerConfig
from stvsr_bench.nn.padding import padded_length

GRID = 8
"""Pixels per latent along a side; 4 frames become one latent frame, the first one alone."""
_CHUNK = 9
"""Most frames that the VAE codes at once."""


def transformer_bytes(
    config: TransformerConfig, frames: int, height: int, width: int, text: int, size: int, *, optimised: bool
) -> int:
    """Bytes that one call of the transformer works in.

    Args:
        config: of the transformer.
        frames: of the padded output.
        height: of it, pixels.
        width: of it, pixels.
        text: tokens of the prompt.
        size: bytes per value.
        optimised: the form of the network.
    """
    patch = GRID * config.patch_size
    latents = padded_length((frames - 1) // 4 + 1, config.token_frames)
    image = latents // config.token_frames * (height // patch) * (width // patch)
    tokens = (image + text) * config.width
    # tokens, their norm, the mask, q, k, v and what attention gives; then the feed-forward layer's hidden ones
    attention = 7 * tokens
    hidden = 4 * config.width * (8 * min(CHUNK_TOKENS, image + text) if optimised else 6 * (image + text))
    tables = 2 * image * config.attention_head_dim * 4
    return size * (attention + hidden) + tables


def vae_bytes(
    channels: tuple[int, ...],
    tile: tuple[int, int],
    frames: int,
    height: int,
    width: int,
    size: int,
    *,
    kept: bool,
    optimised: bool,
) -> int:
    """Bytes that encoding or decoding works in, whichever needs more.

    Args:
        channels: of the VAE's levels, finest first.
        tile: largest height and width that are coded at once, pixels.
        frames: of the padded output.
        height: of it, pixels.
        width: of it, pixels.
        size: bytes per value.
        kept: the decoded video waits on the device.
        optimised: the form of the network.
    """
    split = height > tile[0] or width > tile[1]
    area = (min(height, tile[0]) * min(width, tile[1])) if split else height * width
    video = 3 * frames * height * width * size
    piece = min(frames, _CHUNK) * area * size
    encode = 10 * piece * channels[0] + video
    # the finest level receives the second level's channels; a deformable convolution unfolds one frame in float32
    decode = (9 if optimised else 13) * piece * channels[1] + 9 * area * channels[1] * 4 + (2 * video if kept else 0)
    return max(encode, decode)
