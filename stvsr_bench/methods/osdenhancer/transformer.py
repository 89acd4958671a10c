"""The transformer of OSDEnhancer: CogVideoX with masked temporal-coherence adapters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.models.embeddings import CogVideoXPatchEmbed, TimestepEmbedding, Timesteps
from torch import Tensor, nn

from stvsr_bench.core.errors import MethodError
from stvsr_bench.methods.osdenhancer.blocks import STVSRBlock
from stvsr_bench.methods.osdenhancer.masks import ResidualPatchEmbed, unpatchify
from stvsr_bench.methods.osdenhancer.modulation import ModulatedNorm, OutputNorm, elsewhere
from stvsr_bench.methods.osdenhancer.rope import Rope, rope_tables
from stvsr_bench.methods.osdenhancer.transformer_config import TransformerConfig

__all__ = ["STVSRTransformer", "TransformerConfig", "rope_tables"]


class STVSRTransformer(nn.Module):
    """Velocity of the latents of an upsampled video, given those of its residual video.

    Parameters have the official names with ``.base_layer`` left out. The texture adapters (``TE_lora``) that the
    checkpoint holds beside them are no part of the network: the official code never applies them.

    The optimised form works in place, never adds zeros to the text, feeds forward some tokens at a time and never
    holds the larger mask. It runs on a device that has one block of ``transformer_blocks`` at a time: nothing of a
    block is used but in its own call.

    Source: «OSDEnhancer» (arXiv 2601.20308), official code at commit 64dd6e5, on ``CogVideoXTransformer3DModel`` of
    diffusers. The paper has a mixture of experts, a normalised mask, and adapters on all tokens; this follows the code:
    no router, raw affine masks, image tokens only.

    Args:
        config: checked configuration.
        optimised: ``False`` is the plain form of the same arithmetic.
    """

    def __init__(self, config: TransformerConfig, *, optimised: bool = True) -> None:
        super().__init__()
        self.config = config
        self.optimised = optimised
        self.patch_embed = CogVideoXPatchEmbed(
            patch_size=config.patch_size,
            patch_size_t=config.patch_size_t,
            in_channels=config.in_channels,
            embed_dim=config.width,
            text_embed_dim=config.text_embed_dim,
            bias=config.patch_bias,
            use_positional_embeddings=False,
            use_learned_positional_embeddings=False,
        )
        self.time_proj = Timesteps(config.width, config.flip_sin_to_cos, config.freq_shift)
        self.time_embedding = TimestepEmbedding(config.width, config.time_embed_dim, config.timestep_activation_fn)
        if config.ofs_embed_dim is not None:
            width = config.ofs_embed_dim
            self.ofs_proj = Timesteps(width, config.flip_sin_to_cos, config.freq_shift)
            self.ofs_embedding = TimestepEmbedding(width, width, config.timestep_activation_fn)
        self.res_patch = ResidualPatchEmbed(config, optimised=optimised)
        self.transformer_blocks = nn.ModuleList(
            STVSRBlock(config, optimised=optimised) for _ in range(config.num_layers)
        )
        self.norm_final = nn.LayerNorm(config.width, config.norm_eps, config.norm_elementwise_affine)
        self.norm_out = OutputNorm(config)
        self.proj_out = nn.Linear(config.width, config.out_channels * config.token_frames * config.patch_size**2)
        self.register_buffer("words", None, persistent=False)
        self.words: Tensor | None

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | TransformerConfig, *, optimised: bool = True) -> STVSRTransformer:
        """Build from ``transformer/config.json``; unknown keys are ignored.

        Raises:
            ConfigError: a needed key is missing, or a value makes no sense.
        """
        return cls(TransformerConfig.of(config), optimised=optimised)

    def forward(
        self,
        latents: Tensor,
        prompt: Tensor | None,
        residual_latents: Tensor,
        timestep: Tensor | None,
        rope: Rope | None,
        *,
        ofs: Tensor | None = None,
    ) -> Tensor:
        """Return the velocity ``(B, F, C_out, h, w)``.

        Args:
            latents: ``(B, F, C, h, w)`` of the upsampled video, times the VAE's scaling factor, in the network's dtype.
            prompt: ``(B, L, text_embed_dim)`` in the same dtype; ``None``: what :meth:`prepare_constants` was given.
            residual_latents: like ``latents``, of the residual video.
            timestep: ``(B,)`` int64; ``None`` together with ``prompt``.
            rope: :func:`rope_tables` of the latents; ``None`` leaves out positions.
            ofs: ``(B,)``, only where the configuration sets ``ofs_embed_dim``.

        Raises:
            MethodError: sizes do not fit one another or the patches, or there is neither a prompt nor a prepared one.
        """
        self._check(latents, residual_latents, rope)
        if (prompt is None) is not (timestep is None):
            raise MethodError(
                "the transformer needs prompt and time together", got="one of them", accepted="both, none"
            )
        if prompt is None or timestep is None:
            time, words = None, self._prepared(len(latents))
            no_words = latents.new_empty(len(latents), 0, self.config.text_embed_dim)
            tokens = torch.cat([words, self.patch_embed(no_words, latents)], dim=1)
        else:
            if self.norm_out.linear is None:
                raise MethodError(
                    "the transformer works for one time and prompt only",
                    got="a time and a prompt, after its modulation layers were dropped",
                    action="pass none of them, or prepare constants without drop",
                )
            time = self._time(timestep, latents.dtype, ofs)
            words = prompt
            tokens = self.patch_embed(prompt, latents)
        text = words.shape[1]
        masks = self.res_patch(residual_latents)
        for block in self.transformer_blocks:
            tokens = block(tokens, text, time, masks, rope)
        image = self.norm_out(self.norm_final(tokens[:, text:]), time)
        height, width = latents.shape[3:]
        return unpatchify(self.proj_out(image), self.config.patch_size, self.config.token_frames, height, width)

    @torch.no_grad()
    def prepare_constants(
        self,
        prompt: Tensor,
        timestep: Tensor,
        dtype: torch.dtype,
        *,
        device: torch.device | str | None = None,
        drop: bool = False,
        ofs: Tensor | None = None,
    ) -> None:
        """Work out once what depends on prompt and time only: the projected text and every normalisation's modulation.

        Each layer's parameters are copied to ``device`` and ``dtype`` for the moment they are needed; they, and the
        results (buffers that move with their modules), stay where they are.

        Args:
            prompt: ``(B, L, text_embed_dim)``.
            timestep: ``(B,)`` int64.
            dtype: that the network will run in.
            device: that the network will run on, so that rounding is the same; default: that of ``prompt``.
            drop: give up the modulation layers: 2·num_layers + 1 of them, 797 million parameters at full size.
            ofs: as in :meth:`forward`.

        Raises:
            MethodError: the modulation layers were dropped before.
        """
        if self.norm_out.linear is None:
            raise MethodError("the transformer's constants are final: its modulation layers were dropped before")
        device = torch.device(device) if device is not None else prompt.device
        time = self._time(timestep.to(device), dtype, None if ofs is None else ofs.to(device))
        words = elsewhere(self.patch_embed.text_proj, prompt.to(device, dtype))
        self.words = words.to(self.proj_out.weight.device)
        for block in self.transformer_blocks:
            for norm in (block.norm1, block.norm2):
                assert isinstance(norm, ModulatedNorm)
                norm.remember(time, drop=drop)
        self.norm_out.remember(time, drop=drop)

    def _time(self, timestep: Tensor, dtype: torch.dtype, ofs: Tensor | None) -> Tensor:
        """Embedded time ``(B, time_embed_dim)``: waves in float32, rounded to ``dtype``, then the layers."""
        time = elsewhere(self.time_embedding, self.time_proj(timestep).to(dtype))
        if self.config.ofs_embed_dim is None:
            return time
        if ofs is None:
            raise MethodError("this transformer's configuration sets ofs_embed_dim", got="no ofs", accepted="ofs (B,)")
        return time + elsewhere(self.ofs_embedding, self.ofs_proj(ofs).to(dtype))

    def _prepared(self, batch: int) -> Tensor:
        """The projected text, for this many items."""
        if self.words is None:
            raise MethodError("the transformer has no prompt and time", action="pass them, or prepare constants first")
        if len(self.words) != batch:
            raise MethodError(
                "the transformer's constants are for another batch", got=str(batch), accepted=str(len(self.words))
            )
        return self.words

    def _check(self, latents: Tensor, residual_latents: Tensor, rope: Rope | None) -> None:
        config, shape = self.config, tuple(latents.shape)
        frames, patch = config.token_frames, config.patch_size
        fits = len(shape) == 5 and shape[2] == config.in_channels
        if not fits or min(shape) < 1 or shape[1] % frames or shape[3] % patch or shape[4] % patch:
            raise MethodError(
                "latents do not fit the transformer",
                got=f"(B, F, C, h, w) = {shape}",
                accepted=f"F a multiple of {frames}, C = {config.in_channels}, h and w multiples of {patch}",
                action="repeat the first frame in front, as the method does" if fits and shape[1] % frames else None,
            )
        if residual_latents.shape != latents.shape:
            raise MethodError(
                "the residual video's latents are not like the video's",
                got=str(tuple(residual_latents.shape)),
                accepted=str(shape),
            )
        positions = shape[1] // frames * (shape[3] // patch) * (shape[4] // patch)
        if rope is not None and any(tuple(table.shape) != (positions, config.attention_head_dim) for table in rope):
            raise MethodError(
                "rotary tables do not fit the latents",
                got=", ".join(str(tuple(table.shape)) for table in rope),
                accepted=f"({positions}, {config.attention_head_dim}) each",
                action="make them with rope_tables() for the same frames, height and width",
            )
