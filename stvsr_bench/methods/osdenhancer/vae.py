"""The autoencoder of OSDEnhancer: CogVideoX's, with a decoder that carries detail along time in both directions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import (
    AutoencoderKLCogVideoX,
    CogVideoXDecoder3D,
    CogVideoXEncoder3D,
    CogVideoXSpatialNorm3D,
)
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from stvsr_bench.core.errors import ConfigError
from stvsr_bench.methods.osdenhancer.deformable import DeformableBlock, DeformableConv
from stvsr_bench.methods.osdenhancer.vae_tiles import GRID, OVERLAP, Tiling, check_tile

LEVELS = 4
TEMPORAL = 4
_DOUBLED_IN_TIME = (None, 2, 2, 1)
"""Pairs of frames at a level per pair at the level below."""

Cache = dict[str, Any]


@dataclass(frozen=True)
class VaeConfig:
    """What the autoencoder needs from ``vae/config.json``.

    Attributes:
        block_out_channels: of the four levels, finest first; multiples of 8.
        latent_channels: of a latent frame.
        layers_per_block: residual layers of a level (one more in the decoder).
        norm_num_groups: groups of the normalisations.
        sample_height: twice the default height of a tile, pixels.
        sample_width: twice its width.
        scaling_factor: latents are multiplied by it outside of the autoencoder. The file's, never a default: diffusers'
            own default is another model's.
        in_channels: of a frame.
        out_channels: of a decoded frame.
        act_fn: activation, a name of diffusers.
        norm_eps: of the residual layers' normalisations.
        temporal_compression_ratio: frames per latent frame; only 4.
    """

    block_out_channels: tuple[int, ...]
    latent_channels: int
    layers_per_block: int
    norm_num_groups: int
    sample_height: int
    sample_width: int
    scaling_factor: float
    in_channels: int = 3
    out_channels: int = 3
    act_fn: str = "silu"
    norm_eps: float = 1e-6
    temporal_compression_ratio: int = TEMPORAL

    @classmethod
    def of(cls, mapping: Mapping[str, Any]) -> VaeConfig:
        """Take what is needed from ``mapping``; other keys are left alone.

        Raises:
            ConfigError: a key is absent, or asks for what the decoder's levels or this model cannot be.
        """
        absent = [f.name for f in fields(cls) if f.default is MISSING and mapping.get(f.name) is None]
        if absent:
            raise ConfigError(
                "the configuration of the VAE is incomplete",
                got=f"no {', '.join(absent)}",
                accepted="the fields of diffusers' AutoencoderKLCogVideoX",
                action="take vae/config.json from the published checkpoint",
            )
        known = {f.name: mapping[f.name] for f in fields(cls) if f.name in mapping}
        config = cls(**known | {"block_out_channels": tuple(mapping["block_out_channels"])})
        quantised = [key for key in ("use_quant_conv", "use_post_quant_conv") if mapping.get(key)]
        channels = config.block_out_channels
        for wrong, got, accepted in (
            (len(channels) != LEVELS, f"block_out_channels of {len(channels)} levels", f"{LEVELS} levels"),
            (any(c % 8 for c in channels), f"block_out_channels {channels}", "multiples of 8, the deformable groups"),
            (
                config.temporal_compression_ratio != TEMPORAL,
                f"temporal_compression_ratio {config.temporal_compression_ratio}",
                f"{TEMPORAL}",
            ),
            (bool(quantised), f"{' and '.join(quantised)} true", "false, as in the published model"),
        ):
            if wrong:
                raise ConfigError("this VAE cannot be built", got=got, accepted=accepted)
        return config


class LatentNorm(nn.Module):
    """diffusers' ``CogVideoXSpatialNorm3D`` with its scale and shift computed on latents and then enlarged.

    A 1x1x1 convolution and nearest-neighbour enlarging commute, so the values are the same; neither the enlarged
    latents nor scale and shift at full size are ever stored, nor are copies of them kept for a cache that such a
    convolution does not read.
    """

    def __init__(self, stock: CogVideoXSpatialNorm3D) -> None:
        super().__init__()
        self.norm_layer, self.conv_y, self.conv_b = stock.norm_layer, stock.conv_y, stock.conv_b

    def forward(self, f: Tensor, zq: Tensor, conv_cache: Cache | None = None) -> tuple[Tensor, Cache]:
        """Normalise ``f`` ``(B, C, t, h, w)`` under latents ``zq``, whose sides divide those of ``f``."""
        out = self.norm_layer(f)
        scale, shift = self.conv_y.conv(zq), self.conv_b.conv(zq)
        # the first of an odd count of frames stands for itself, every other latent frame for the same number of frames
        alone = f.shape[2] > 1 and f.shape[2] % 2 == 1
        for part in (slice(0, 1), slice(1, None)) if alone else (slice(None),):
            into, by, plus = out[:, :, part], scale[:, :, part], shift[:, :, part]
            for axis in (4, 3, 2):
                into = into.unflatten(axis, (by.shape[axis], -1))
                by, plus = by.unsqueeze(axis + 1), plus.unsqueeze(axis + 1)
            into.mul_(by).add_(plus)
        return out, {}


class BidirectionalDecoder(CogVideoXDecoder3D):
    """diffusers' decoder with a :class:`DeformableBlock` before each of its levels.

    The coarsest level goes backward in time, the next forward, and so on. Offset features are handed upward with
    their sign changed, since the next level looks the other way.

    Args:
        config: of the autoencoder.
        optimised: leave out what is not used; the values are the same.
    """

    def __init__(self, config: VaeConfig, *, optimised: bool = True) -> None:
        super().__init__(
            in_channels=config.latent_channels,
            out_channels=config.out_channels,
            up_block_types=("CogVideoXUpBlock3D",) * LEVELS,
            block_out_channels=config.block_out_channels,
            layers_per_block=config.layers_per_block,
            act_fn=config.act_fn,
            norm_eps=config.norm_eps,
            norm_num_groups=config.norm_num_groups,
            temporal_compression_ratio=config.temporal_compression_ratio,
        )
        self.optimised = optimised
        coarse_first = config.block_out_channels[::-1]
        channels = (coarse_first[0], *coarse_first[:-1])  # what each level receives
        self.up_deformable_blocks = nn.ModuleList(
            DeformableBlock(channels[i], channels[i - 1] if i else None, temporal or 1, optimised=optimised)
            for i, temporal in enumerate(_DOUBLED_IN_TIME)
        )
        if optimised:
            _replace_norms(self)

    def forward(  # type: ignore[override]  # diffusers says Tensor but returns both as well
        self, sample: Tensor, temb: Tensor | None = None, conv_cache: Cache | None = None
    ) -> tuple[Tensor, Cache]:
        """Decode one chunk of latent frames.

        Args:
            sample: ``(B, C, T, h, w)``.
            temb: not used by this model.
            conv_cache: what the call for the chunk before returned.

        Returns:
            Frames ``(B, 3, T', 8h, 8w)`` about [-1, 1] and the cache for the next chunk. An odd T without cache gives
            ``4·T - 3`` frames, an even one ``4·T``.
        """
        known, cache = conv_cache or {}, {}
        x, cache["conv_in"] = self.conv_in(sample, conv_cache=known.get("conv_in"))
        x, cache["mid_block"] = self.mid_block(x, temb, sample, conv_cache=known.get("mid_block"))
        offsets: Tensor | None = None
        for i, (deformable, up) in enumerate(zip(self.up_deformable_blocks, self.up_blocks, strict=True)):
            own = known.get(f"up_block_{i}") or {}
            x, aligned, offsets = deformable(
                x,
                own.get("align"),
                None if offsets is None else -offsets,
                reverse=i % 2 == 0,
                want_offsets=not (self.optimised and i == LEVELS - 1),
            )
            x, cache[f"up_block_{i}"] = up(x, temb, sample, conv_cache=own)
            cache[f"up_block_{i}"]["align"] = aligned
        x, cache["norm_out"] = self.norm_out(x, sample, conv_cache=known.get("norm_out"))
        x, cache["conv_out"] = self.conv_out(self.conv_act(x), conv_cache=known.get("conv_out"))
        return x, cache


def _replace_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, CogVideoXSpatialNorm3D):
            setattr(module, name, LatentNorm(child))
        else:
            _replace_norms(child)


class STVSRVae(AutoencoderKLCogVideoX):
    """The autoencoder: frames ``(B, 3, T, H, W)`` in [-1, 1] to latents ``(B, C, t, H/8, W/8)`` and back.

    ``encode`` and ``decode`` are those of diffusers, with its chunks of 8 frames or 2 latent frames and its tiles
    (:meth:`enable_tiling`); tiles are written to their place one by one. Every deformable convolution stays float32
    whatever the rest is cast to.

    Source: the official ``AutoencoderKLCogVideoX_STVSR`` (commit 64dd6e5), same parameter names. It builds diffusers'
    decoder and throws it away; this builds its own once.

    Args:
        config: see :class:`VaeConfig`.
        optimised: the fast form; ``False`` computes the same values as the official code writes it.

    Attributes:
        scaling_factor: what latents are multiplied by between the autoencoder and the transformer.
        offload_tiles: put decoded tiles on the CPU, where the whole result then lies.
        progress: called with (done, total) after each chunk of each tile, in every ``encode`` and ``decode``.
    """

    decoder: BidirectionalDecoder

    def __init__(self, config: VaeConfig, *, optimised: bool = True) -> None:
        super(AutoencoderKLCogVideoX, self).__init__()  # not its parent's constructor, which builds the other decoder
        self.register_to_config(**asdict(config))  # type: ignore[no-untyped-call]
        self.optimised, self.scaling_factor = optimised, float(config.scaling_factor)
        self.encoder = CogVideoXEncoder3D(
            in_channels=config.in_channels,
            out_channels=config.latent_channels,
            down_block_types=("CogVideoXDownBlock3D",) * LEVELS,
            block_out_channels=config.block_out_channels,
            layers_per_block=config.layers_per_block,
            act_fn=config.act_fn,
            norm_eps=config.norm_eps,
            norm_num_groups=config.norm_num_groups,
            temporal_compression_ratio=config.temporal_compression_ratio,
        )
        self.decoder = BidirectionalDecoder(config, optimised=optimised)
        self.quant_conv = self.post_quant_conv = None
        self.use_slicing = self.use_tiling = False
        self.num_latent_frames_batch_size, self.num_sample_frames_batch_size = 2, 8
        self.tile_sample_min_height, self.tile_sample_min_width = config.sample_height // 2, config.sample_width // 2
        self.tile_latent_min_height = self.tile_sample_min_height // GRID
        self.tile_latent_min_width = self.tile_sample_min_width // GRID
        self.tile_overlap_factor_height, self.tile_overlap_factor_width = OVERLAP
        self.offload_tiles = False
        self.progress: Callable[[int, int], None] | None = None

    @classmethod
    def from_config(  # type: ignore[override]  # diffusers' own drops keys and fills in its defaults with a warning
        cls, config: Mapping[str, Any], *, optimised: bool = True
    ) -> STVSRVae:
        """Build it from the content of ``vae/config.json``; parameters are left to be loaded.

        Raises:
            ConfigError: the configuration is incomplete, or not of such a model.
        """
        return cls(VaeConfig.of(config), optimised=optimised)

    def to(self, *args: Any, **kwargs: Any) -> STVSRVae:  # type: ignore[override]
        """As ``torch.nn.Module.to``: diffusers' own warns of float32 modules, which see to themselves here."""
        super(ModelMixin, self).to(*args, **kwargs)
        return self

    def round_dcn_weights(self, dtype: torch.dtype = torch.bfloat16) -> None:
        """Round the deformable convolutions' parameters through ``dtype``; they stay, or become, float32.

        The official loader does so by accident with bfloat16, its run dtype; ``float32`` keeps the stored values.
        """
        for module in self.modules():
            if isinstance(module, DeformableConv):
                module.round_weights(dtype)

    def enable_tiling(
        self,
        tile_sample_min_height: int | None = None,
        tile_sample_min_width: int | None = None,
        tile_overlap_factor_height: float | None = None,
        tile_overlap_factor_width: float | None = None,
    ) -> None:
        """Code frames larger than a tile in tiles.

        Args:
            tile_sample_min_height: of a tile, pixels; ``None`` keeps what is set, at first half of ``sample_height``.
            tile_sample_min_width: likewise.
            tile_overlap_factor_height: share of a tile's height that it has in common with the next, at first 1/6.
            tile_overlap_factor_width: the same of its width, at first 1/5.

        Raises:
            ConfigError: what was given does not fit the grid of latents. The configuration's own size is taken as it
                is, like the official code does.
        """
        given = (tile_sample_min_height, tile_sample_min_width, tile_overlap_factor_height, tile_overlap_factor_width)
        if any(value is not None for value in given):
            check_tile(
                (
                    self.tile_sample_min_height if given[0] is None else given[0],
                    self.tile_sample_min_width if given[1] is None else given[1],
                ),
                (given[2] or self.tile_overlap_factor_height, given[3] or self.tile_overlap_factor_width),
            )
        super().enable_tiling(*given)

    def _encode(self, x: Tensor) -> Tensor:
        return self._coded(x, self.encoder, self.num_sample_frames_batch_size, Tiling.encoding, self.device)

    def _decode(self, z: Tensor, return_dict: bool = True) -> DecoderOutput | Tensor:
        place = torch.device("cpu") if self.offload_tiles else self.device
        sample = self._coded(z, self.decoder, self.num_latent_frames_batch_size, Tiling.decoding, place)
        # as diffusers writes it, whose annotation means this tuple
        return DecoderOutput(sample=sample) if return_dict else (sample,)  # type: ignore[return-value]

    def _coded(
        self,
        source: Tensor,
        coder: nn.Module,
        frames: int,
        tiling: Callable[..., Tiling],
        place: torch.device,
    ) -> Tensor:
        """Code ``source``, which may lie elsewhere than the parameters, in tiles where those are on."""
        tiles = tiling(
            (self.tile_sample_min_height, self.tile_sample_min_width),
            (self.tile_latent_min_height, self.tile_latent_min_width),
            (self.tile_overlap_factor_height, self.tile_overlap_factor_width),
        )
        split = self.use_tiling and tiles.splits(source)
        chunks = _chunks(source.shape[2], frames)
        total, done = len(chunks) * (tiles.count(source) if split else 1), 0

        def code(tile: Tensor) -> Tensor:
            nonlocal done
            cache: Cache | None = None
            parts = []
            for chunk in chunks:
                part, cache = coder(tile[:, :, chunk].to(self.device), conv_cache=cache)
                parts.append(part)
                done += 1
                if self.progress is not None:
                    self.progress(done, total)
            return torch.cat(parts, 2)

        return tiles.merge(source, code, self.blend_v, self.blend_h, place) if split else code(source).to(place)


def _chunks(count: int, size: int) -> list[slice]:
    """Frames that are coded at once: ``size`` each, the first ones with what is left over as well.

    >>> _chunks(7, 2)
    [slice(0, 3, None), slice(3, 5, None), slice(5, 7, None)]
    """
    if count <= size:
        return [slice(0, count)]
    starts = [0, *range(size + count % size, count, size)]
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], count], strict=True)]
