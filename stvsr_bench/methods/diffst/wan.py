"""Wan2.1's transformer and VAE as DiffST runs them: diffusers' classes, built without memory, at two sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed, WanTransformer3DModel
from torch import Tensor, nn

TRANSFORMER: dict[str, Any] = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 12,
    "attention_head_dim": 128,
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": 4096,
    "freq_dim": 256,
    "ffn_dim": 8960,
    "num_layers": 30,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "eps": 1e-6,
    "rope_max_seq_len": 1024,
}
"""Wan2.1-T2V-1.3B: 1,418,996,800 parameters."""

_STATISTICS: dict[str, Any] = {
    "latents_mean": [
        -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
        0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
    ],
    "latents_std": [
        2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
        3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
    ],
}  # fmt: skip

VAE: dict[str, Any] = {
    "base_dim": 96,
    "z_dim": 16,
    "dim_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_scales": [],
    "temperal_downsample": [False, True, True],
    "dropout": 0.0,
    **_STATISTICS,
}
"""Wan2.1's VAE: 126,892,531 parameters."""

TINY_TRANSFORMER: dict[str, Any] = TRANSFORMER | {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "in_channels": 4,
    "out_channels": 4,
    "text_dim": 24,
    "freq_dim": 16,
    "ffn_dim": 48,
    "num_layers": 2,
}
TINY_VAE: dict[str, Any] = VAE | {
    "base_dim": 8,
    "z_dim": 4,
    "dim_mult": [1, 1, 2, 2],
    "num_res_blocks": 1,
    "latents_mean": _STATISTICS["latents_mean"][:4],
    "latents_std": _STATISTICS["latents_std"][:4],
}

GRID = 8
"""Pixels per latent along a side."""


def build_transformer(config: Mapping[str, Any], context_dim: int, *, past_text_layers: bool) -> Any:
    """Return diffusers' ``WanTransformer3DModel`` with parameters on the meta device.

    Args:
        config: of ``WanTransformer3DModel``; unknown keys are ignored.
        context_dim: channels of the context, where the first text layer takes it.
        past_text_layers: the context has the channels of the blocks already, and the text layers are left out.
    """
    known = {key: value for key, value in config.items() if key in TRANSFORMER}
    with torch.device("meta"):
        network: Any = WanTransformer3DModel(**(known | {"text_dim": context_dim}))
        if past_text_layers:
            network.condition_embedder.text_embedder = nn.Identity()
    # its tables are constants, not parameters: on the meta device their values would be lost
    network.rope = WanRotaryPosEmbed(
        int(config["attention_head_dim"]), tuple(config["patch_size"]), int(config["rope_max_seq_len"])
    )
    return network


def exact_parts(network: Any) -> list[nn.Module | Tensor]:
    """What stays float32 in a half-precision transformer, as diffusers itself keeps it: time, norms, positions."""
    kept: list[nn.Module | Tensor] = [network.rope, network.condition_embedder.time_embedder, network.scale_shift_table]
    for block in network.blocks:
        kept += [block.norm1, block.norm2, block.norm3, block.scale_shift_table]
    return kept


class WanVae(AutoencoderKLWan):
    """Wan2.1's causal VAE; same parameters and arithmetic as the stock class.

    The optimised form decodes into one buffer, which may lie elsewhere than the network, instead of joining what there
    is so far with every four frames, and tells how far it is.

    Attributes:
        optimised: ``False`` is the stock form.
        output_device: where decoded frames go; ``None``: the device of the latents.
        progress: called with latent frames done and in all.
    """

    optimised: bool = True
    output_device: torch.device | None = None
    progress: Callable[[int, int], None] | None = None

    @classmethod
    def build(cls, config: Mapping[str, Any], *, optimised: bool = True) -> WanVae:
        """Return the VAE with parameters on the meta device; unknown keys of ``config`` are ignored."""
        with torch.device("meta"):
            network: WanVae = cls(**{key: value for key, value in config.items() if key in VAE})
        network.optimised = optimised
        return network

    def tile(self, side: int | None, stride: int | None = None) -> None:
        """Code in tiles of ``side`` output pixels, one every ``stride``; ``None``: whole frames."""
        self.use_tiling = side is not None
        if side is not None:
            self.enable_tiling(side, side, stride or side, stride or side)

    def moments(self, video: Tensor) -> Tensor:
        """Mean and log-variance ``(B, 2C, F, H/8, W/8)`` of ``(B, 3, 4m + 1, H, W)`` in [-1, 1].

        Raises:
            ValueError: another number of frames, of which the stock class drops some without a word, or sides that are
                no multiples of 8.
        """
        frames, height, width = video.shape[-3:]
        if frames % 4 != 1 or height % GRID or width % GRID:
            raise ValueError(f"{frames} frames of {height}x{width} are no 4m + 1 frames with sides in multiples of 8")
        found: Tensor = self.encode(video).latent_dist.parameters
        return found

    def _encode(self, x: Tensor) -> Tensor:
        if not self.optimised or self._tiled(x.shape[-2:], 1):
            plain: Tensor = super()._encode(x)
            return plain
        self._forget()
        pieces = []
        for start, stop in [(0, 1), *((at, at + 4) for at in range(1, x.shape[2], 4))]:
            self._enc_conv_idx = [0]
            pieces.append(self.encoder(x[:, :, start:stop], feat_cache=self._enc_feat_map, feat_idx=self._enc_conv_idx))
            self._tell(len(pieces), 1 + (x.shape[2] - 1) // 4)
        self._forget()
        moments: Tensor = self.quant_conv(torch.cat(pieces, 2))
        return moments

    def _decode(self, z: Tensor, return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        if not self.optimised or self._tiled(z.shape[-2:], GRID):
            out = super()._decode(z, return_dict=False)[0]
        else:
            out = self._decoded(z)
        return DecoderOutput(sample=out) if return_dict else (out,)

    def _decoded(self, z: Tensor) -> Tensor:
        self._forget()
        x = self.post_quant_conv(z)
        batch, _, count, height, width = z.shape
        out: Tensor = x.new_empty(
            batch, 3, 4 * (count - 1) + 1, GRID * height, GRID * width, device=self.output_device or z.device
        )
        at = 0
        for i in range(count):
            self._conv_idx = [0]
            piece = self.decoder(
                x[:, :, i : i + 1], feat_cache=self._feat_map, feat_idx=self._conv_idx, first_chunk=i == 0
            )
            out[:, :, at : at + piece.shape[2]] = piece.clamp(-1, 1)
            at += piece.shape[2]
            self._tell(i + 1, count)
        self._forget()
        return out

    def _tiled(self, size: tuple[int, ...], grid: int) -> bool:
        """Whether frames of ``size``, ``grid`` pixels a step, are cut into tiles."""
        return bool(
            self.use_tiling
            and (size[0] * grid > self.tile_sample_min_height or size[1] * grid > self.tile_sample_min_width)
        )

    def _forget(self) -> None:
        """Drop what causal convolutions keep of earlier frames."""
        self.clear_cache()  # type: ignore[no-untyped-call]

    def _tell(self, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(done, total)
