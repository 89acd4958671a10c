"""The residual video's latents as masks, which say where the temporal-coherence adapters act and how strongly."""

from __future__ import annotations

from torch import Tensor, nn

from stvsr_bench.methods.osdenhancer.transformer_config import TransformerConfig


def patchify(latents: Tensor, patch: int, frames: int) -> Tensor:
    """Cut ``(B, F, C, h, w)`` into tokens ``(B, N, C·frames·patch²)``.

    Tokens are in the order (t, h, w), features of a token in the order (c, t, h, w).
    """
    batch, length, channels, height, width = latents.shape
    parts = latents.reshape(
        batch, length // frames, frames, channels, height // patch, patch, width // patch, patch
    )  # B, t, pt, C, h, ph, w, pw
    return parts.permute(0, 1, 4, 6, 3, 2, 5, 7).flatten(4, 7).flatten(1, 3)


def unpatchify(tokens: Tensor, patch: int, frames: int, height: int, width: int) -> Tensor:
    """The inverse: ``(B, N, C·frames·patch²)`` as ``(B, F, C, height, width)``."""
    parts = tokens.reshape(
        len(tokens), -1, height // patch, width // patch, tokens.shape[2] // (frames * patch**2), frames, patch, patch
    )  # B, t, h, w, C, pt, ph, pw
    return parts.permute(0, 1, 5, 4, 2, 6, 3, 7).flatten(6, 7).flatten(4, 5).flatten(1, 2)


class Masks:
    """Both masks of the image tokens, signed and unbounded, one value for each channel.

    Args:
        mask: m ``(B, N, D)``, for what comes out of q, k, v, the attention and the feed-forward layer.
        hidden: m_ff0 ``(B, N, 4D)``, for what comes out of the feed-forward layer's first projection; or what
            ``project`` makes it of.
        project: makes m_ff0 of some tokens when it is asked for.
    """

    def __init__(self, mask: Tensor, hidden: Tensor, project: nn.Linear | None = None) -> None:
        self.mask = mask
        self._hidden = hidden
        self._project = project

    def hidden(self, tokens: slice) -> Tensor:
        """m_ff0 of some image tokens."""
        part = self._hidden[:, tokens]
        return part if self._project is None else self._project(part)


class ResidualPatchEmbed(nn.Module):
    """Two affine maps of the residual latents' magnitudes, limited to one; nothing follows them.

    The paper calls m a normalised soft mask; only what goes in is limited. A residual that is zero in pixels is not
    zero in latents, so at input frames the mask is more than the bias.

    Args:
        config: of the transformer.
        optimised: keep the magnitudes, and make m_ff0 (the largest tensor of all) of them whenever a block wants some.
    """

    def __init__(self, config: TransformerConfig, *, optimised: bool = True) -> None:
        super().__init__()
        self.patch = (config.patch_size, config.token_frames)
        features = config.in_channels * config.token_frames * config.patch_size**2
        self.res_proj = nn.Linear(features, config.width)
        self.res_ff0_proj = nn.Linear(features, 4 * config.width)
        self.optimised = optimised

    def forward(self, residual: Tensor) -> Masks:
        """Masks of residual latents ``(B, F, C, h, w)``, multiplied by the VAE's scaling factor already."""
        magnitude = patchify(residual.clamp(-1, 1).abs(), *self.patch)
        mask = self.res_proj(magnitude)
        if self.optimised:
            return Masks(mask, magnitude, self.res_ff0_proj)
        return Masks(mask, self.res_ff0_proj(magnitude))
