"""Normalisations that the diffusion time modulates, and that can remember how once the time is constant."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from stvsr_bench.methods.osdenhancer.transformer_config import TransformerConfig


class Modulation(nn.Module):
    """A normalisation over the channels, and the layer that makes ``vectors`` of width D from the embedded time.

    Parameters are named as in ``CogVideoXLayerNormZero`` and ``AdaLayerNorm`` of diffusers, of which the subclasses are
    the arithmetic.

    Args:
        config: of the transformer.
        vectors: how many.

    Attributes:
        constant: the vectors ``(B, vectors·D)`` of a constant time, a buffer that no checkpoint holds; else ``None``.
    """

    constant: Tensor | None

    def __init__(self, config: TransformerConfig, vectors: int) -> None:
        super().__init__()
        self.linear: nn.Linear | None = nn.Linear(config.time_embed_dim, vectors * config.width)
        self.norm = nn.LayerNorm(config.width, config.norm_eps, config.norm_elementwise_affine)
        self.register_buffer("constant", None, persistent=False)
        self.vectors = vectors

    def modulation(self, time: Tensor | None) -> list[Tensor]:
        """The vectors, each ``(B, 1, D)``, of the embedded ``time``; where it is None, of that of :meth:`remember`."""
        if time is not None:
            assert self.linear is not None  # the transformer lets no time through once this is dropped
            found = self.linear(F.silu(time))
        else:
            found = self.constant
        assert found is not None
        return [vector[:, None] for vector in found.chunk(self.vectors, dim=1)]

    def remember(self, time: Tensor, *, drop: bool) -> None:
        """Keep the vectors of ``time``, worked out on its device and in its dtype, where the parameters lie.

        Args:
            time: ``(B, time_embed_dim)``.
            drop: give up the layer that makes them.
        """
        assert self.linear is not None
        self.constant = elsewhere(self.linear, F.silu(time)).to(self.linear.weight.device)
        if drop:
            self.linear = None


class Gates:
    """How much of a layer's result is added to the tokens it was made of.

    Args:
        image: ``(B, 1, D)`` for image tokens.
        words: ``(B, 1, D)`` for text tokens.
        text: number of text tokens.
        optimised: work in place.
    """

    def __init__(self, image: Tensor, words: Tensor, text: int, *, optimised: bool) -> None:
        self.image = image
        self.words = words
        self.text = text
        self.optimised = optimised

    def add(self, tokens: Tensor, result: Tensor) -> Tensor:
        """``tokens + gate · result``; in the optimised form both are overwritten."""
        text = self.text
        if self.optimised:
            result[:, :text].mul_(self.words)
            result[:, text:].mul_(self.image)
            return tokens.add_(result)
        return torch.cat(
            [tokens[:, :text] + self.words * result[:, :text], tokens[:, text:] + self.image * result[:, text:]], dim=1
        )


class ModulatedNorm(Modulation):
    """The normalisation before a block's layer: shift, scale and gate for the image, and again for the text.

    Args:
        config: of the transformer.
        optimised: modulate in place.
    """

    def __init__(self, config: TransformerConfig, *, optimised: bool = True) -> None:
        super().__init__(config, vectors=6)
        self.optimised = optimised

    def forward(self, tokens: Tensor, text: int, time: Tensor | None) -> tuple[Tensor, Gates]:
        """Normalise ``(B, L + N, D)``, whose first ``text`` tokens are text."""
        shift, scale, gate, text_shift, text_scale, text_gate = self.modulation(time)
        gates = Gates(gate, text_gate, text, optimised=self.optimised)
        if self.optimised:
            normed: Tensor = self.norm(tokens)
            normed[:, :text].mul_(1 + text_scale).add_(text_shift)
            normed[:, text:].mul_(1 + scale).add_(shift)
            return normed, gates
        image = self.norm(tokens[:, text:]) * (1 + scale) + shift
        words = self.norm(tokens[:, :text]) * (1 + text_scale) + text_shift
        return torch.cat([words, image], dim=1), gates


class OutputNorm(Modulation):
    """The normalisation before the last layer: shift and scale.

    Args:
        config: of the transformer.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config, vectors=2)

    def forward(self, image: Tensor, time: Tensor | None) -> Tensor:
        """Normalise image tokens ``(B, N, D)``."""
        shift, scale = self.modulation(time)
        normed: Tensor = self.norm(image) * (1 + scale) + shift
        return normed


def elsewhere(module: nn.Module, x: Tensor) -> Tensor:
    """``module(x)`` on the device and in the dtype of ``x``, wherever and whatever the module's parameters are."""
    parameters = {name: parameter.to(x.device, x.dtype) for name, parameter in module.named_parameters()}
    out: Tensor = functional_call(module, parameters, (x,))
    return out
