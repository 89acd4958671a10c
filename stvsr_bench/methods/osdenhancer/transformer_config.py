"""What of the checkpoint's ``transformer/config.json`` decides the network, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from diffusers.models.activations import ACT2CLS

from stvsr_bench.core.errors import ConfigError

_COUNTS = (
    *("num_attention_heads", "attention_head_dim", "num_layers", "in_channels", "out_channels", "time_embed_dim"),
    *("text_embed_dim", "patch_size", "sample_height", "sample_width"),
)
_COUNTS_OR_NULL = ("patch_size_t", "ofs_embed_dim")
_SWITCHES = (
    *("patch_bias", "attention_bias", "norm_elementwise_affine", "flip_sin_to_cos"),
    *("use_rotary_positional_embeddings", "use_learned_positional_embeddings"),
)


@dataclass(frozen=True)
class TransformerConfig:
    """The keys of the stock CogVideoX transformer that the network reads, under their official names.

    What has a default here is absent from older files, and has the stock class's default. Every other key of the file
    is ignored: ``activation_fn`` and ``dropout`` too, as the official code does (always tanh-GELU, never training).

    Attributes:
        num_attention_heads: heads; times ``attention_head_dim`` it is the width D.
        attention_head_dim: a multiple of 16, which splits into the axes of the rotary positions.
        num_layers: blocks.
        in_channels: of the latents.
        out_channels: of the velocity.
        time_embed_dim: width of the embedded time.
        text_embed_dim: width of the prompt's embedding.
        patch_size: side of a token, in latent pixels.
        patch_size_t: latent frames in a token (CogVideoX 1.5), or ``None`` (1.0: one frame, a convolution).
        norm_eps: of every normalisation but those of q and k.
        sample_height: of the latents trained on; decides positions where ``patch_size_t`` is ``None``.
        sample_width: the same.
        use_rotary_positional_embeddings: must be true: the method knows no other.
    """

    num_attention_heads: int
    attention_head_dim: int
    num_layers: int
    in_channels: int
    out_channels: int
    time_embed_dim: int
    text_embed_dim: int
    patch_size: int
    patch_size_t: int | None
    norm_eps: float
    sample_height: int
    sample_width: int
    use_rotary_positional_embeddings: bool
    use_learned_positional_embeddings: bool = False
    patch_bias: bool = True
    attention_bias: bool = True
    norm_elementwise_affine: bool = True
    flip_sin_to_cos: bool = True
    freq_shift: float = 0
    timestep_activation_fn: str = "silu"
    ofs_embed_dim: int | None = None

    @classmethod
    def of(cls, config: Mapping[str, Any] | TransformerConfig) -> TransformerConfig:
        """Read ``config``.

        Raises:
            ConfigError: a needed key is missing, or a value makes no sense.
        """
        if isinstance(config, TransformerConfig):
            return config
        missing = [field.name for field in fields(cls) if field.default is MISSING and field.name not in config]
        if missing:
            raise ConfigError(
                "the transformer's configuration is incomplete",
                got=f"no {', '.join(missing)}",
                accepted="transformer/config.json of the published checkpoint, or one with the same keys",
            )
        return cls(**{field.name: config[field.name] for field in fields(cls) if field.name in config})

    @property
    def width(self) -> int:
        """D, the width of a token."""
        return self.num_attention_heads * self.attention_head_dim

    @property
    def token_frames(self) -> int:
        """Latent frames in a token."""
        return self.patch_size_t or 1

    def __post_init__(self) -> None:
        for name in _COUNTS:
            self._check(name, _whole(getattr(self, name)), "a whole number from 1")
        for name in _COUNTS_OR_NULL:
            value = getattr(self, name)
            self._check(name, value is None or _whole(value), "a whole number from 1, or null")
        for name in _SWITCHES:
            self._check(name, isinstance(getattr(self, name), bool), "true or false")
        self._check("norm_eps", _number(self.norm_eps) and 0 < self.norm_eps < 1, "a number between 0 and 1")
        half = self.width // 2
        self._check("freq_shift", _number(self.freq_shift) and self.freq_shift != half, f"a number, not {half}")
        known = self.timestep_activation_fn in ACT2CLS
        self._check("timestep_activation_fn", known, ", ".join(sorted(ACT2CLS)))
        self._check("attention_head_dim", self.attention_head_dim % 16 == 0, "a multiple of 16")
        same = self.ofs_embed_dim in (None, self.time_embed_dim)
        self._check(
            "ofs_embed_dim", same, f"null, or the {self.time_embed_dim} of time_embed_dim, to which it is added"
        )
        self._check("use_rotary_positional_embeddings", self.use_rotary_positional_embeddings, "true")
        self._check("use_learned_positional_embeddings", not self.use_learned_positional_embeddings, "false")

    def _check(self, name: str, right: bool, accepted: str) -> None:
        if not right:
            raise ConfigError(
                f"the transformer's configuration: '{name}' makes no sense",
                got=repr(getattr(self, name)),
                accepted=accepted,
            )


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
