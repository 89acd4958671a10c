"""A block of the transformer: joint attention and feed-forward of text and image tokens, with masked adapters.

Tokens of both are one sequence everywhere, ``(B, L + N, D)``: the text's L first, then the image's N.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor, nn

from stvsr_bench.methods.osdenhancer.masks import Masks
from stvsr_bench.methods.osdenhancer.modulation import ModulatedNorm
from stvsr_bench.methods.osdenhancer.rope import Rope
from stvsr_bench.methods.osdenhancer.transformer_config import TransformerConfig

TC_RANK = 128
"""Rank of the adapters and their alpha, fixed in the official code; alpha / rank, which multiplies a delta, is one."""
QK_EPS = 1e-6
"""Of the normalisation of q and k, whatever the configuration says of the others."""
CHUNK_TOKENS = 8192
"""Tokens whose feed-forward layer, or whose q or k, is worked out at once in the optimised form.

At full width a hidden layer of this many takes 200 MB in bfloat16, and a few copies of it live at once. Fewer would
save little beside the tokens themselves, and make matrix products too small for a fast device.
"""


class TCLora(nn.Module):
    """The low-rank delta ``B A x`` of a temporal-coherence adapter.

    Args:
        inputs: features in.
        outputs: features out.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.lora_A = nn.Linear(inputs, TC_RANK, bias=False)
        self.lora_B = nn.Linear(TC_RANK, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The delta for ``(…, inputs)``."""
        delta: Tensor = self.lora_B(self.lora_A(x))
        return delta


def adapted(layer: nn.Module, lora: TCLora, tokens: Tensor, mask: Tensor, text: int, *, optimised: bool) -> Tensor:
    """``layer(tokens)``, with the masked delta added to the image tokens.

    Args:
        layer: affine.
        lora: its adapter.
        tokens: ``(B, L + N, inputs)``.
        mask: ``(B, N, outputs)``.
        text: L.
        optimised: add in place, to the image tokens only; the plain form adds zeros to the text, as the official code
            does. The result is the same to the bit.
    """
    out: Tensor = layer(tokens)
    delta = lora(tokens[:, text:])
    if optimised:
        out[:, text:].add_(delta.mul_(mask))
        return out
    delta = mask * delta
    return out + torch.cat([delta.new_zeros(len(delta), text, delta.shape[2]), delta], dim=1)


def turned(heads: Tensor, rope: Rope) -> Tensor:
    """Turn neighbouring channels of ``(B, heads, N, head_dim)`` by their positions, in float32."""
    out: Tensor = apply_rotary_emb(heads, rope)  # type: ignore[arg-type,assignment]  # annotated wrongly
    return out


class TCAttention(nn.Module):
    """Joint attention of text and image: the stock class's parameters, four adapters, and rotary positions.

    Args:
        config: of the transformer.
        optimised: normalise and turn q and k in place, some tokens at a time.
    """

    def __init__(self, config: TransformerConfig, *, optimised: bool = True) -> None:
        width = config.width
        super().__init__()
        self.heads = config.num_attention_heads
        self.norm_q = nn.LayerNorm(config.attention_head_dim, QK_EPS)
        self.norm_k = nn.LayerNorm(config.attention_head_dim, QK_EPS)
        self.to_q = nn.Linear(width, width, config.attention_bias)
        self.to_k = nn.Linear(width, width, config.attention_bias)
        self.to_v = nn.Linear(width, width, config.attention_bias)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])
        self.to_q_TC_lora = TCLora(width, width)
        self.to_k_TC_lora = TCLora(width, width)
        self.to_v_TC_lora = TCLora(width, width)
        self.to_out_TC_lora = TCLora(width, width)
        self.optimised = optimised

    def forward(self, tokens: Tensor, text: int, mask: Tensor, rope: Rope | None) -> Tensor:
        """Attend.

        Args:
            tokens: ``(B, L + N, D)``.
            text: L.
            mask: m ``(B, N, D)``.
            rope: tables of the image tokens; ``None`` leaves out positions.
        """
        query = self._heads(adapted(self.to_q, self.to_q_TC_lora, tokens, mask, text, optimised=self.optimised))
        key = self._heads(adapted(self.to_k, self.to_k_TC_lora, tokens, mask, text, optimised=self.optimised))
        value = self._heads(adapted(self.to_v, self.to_v_TC_lora, tokens, mask, text, optimised=self.optimised))
        query = self._positioned(query, self.norm_q, text, rope)
        key = self._positioned(key, self.norm_k, text, rope)
        out = F.scaled_dot_product_attention(query, key, value)
        del query, key, value
        out = out.transpose(1, 2).flatten(2)
        return adapted(self.to_out[0], self.to_out_TC_lora, out, mask, text, optimised=self.optimised)

    def _heads(self, tokens: Tensor) -> Tensor:
        """``(B, L + N, D)`` as ``(B, heads, L + N, head_dim)``."""
        return tokens.view(*tokens.shape[:2], self.heads, -1).transpose(1, 2)

    def _positioned(self, heads: Tensor, norm: nn.LayerNorm, text: int, rope: Rope | None) -> Tensor:
        """Normalise each head, and turn the image tokens in float32 by their positions."""
        if not self.optimised:
            heads = norm(heads)
            if rope is not None:
                heads[:, :, text:] = turned(heads[:, :, text:], rope)
            return heads
        for start, stop in chunks(heads.shape[2]):
            part = norm(heads[:, :, start:stop])
            words = min(max(text - start, 0), stop - start)
            if rope is not None and words < stop - start:
                table = slice(start + words - text, stop - text)
                part[:, :, words:] = turned(part[:, :, words:], (rope[0][table], rope[1][table]))
            heads[:, :, start:stop] = part
        return heads


class TCProjection(nn.Module):
    """The feed-forward layer's first projection and its adapter.

    Args:
        width: D; there are 4D features out.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 4 * width)
        self.proj_TC_lora = TCLora(width, 4 * width)


class TCFeedForward(nn.Module):
    """Two affine layers with a tanh-GELU between them: the stock class's parameters and two adapters.

    Args:
        config: of the transformer.
        optimised: work on some tokens at a time, and write the result over the input.
    """

    def __init__(self, config: TransformerConfig, *, optimised: bool = True) -> None:
        super().__init__()
        # The stock class has a dropout in the middle, which decides the key of the last.
        self.net = nn.ModuleList([TCProjection(config.width), nn.Identity(), nn.Linear(4 * config.width, config.width)])
        self.proj_out_TC_lora = TCLora(4 * config.width, config.width)
        self.optimised = optimised

    def forward(self, tokens: Tensor, text: int, masks: Masks) -> Tensor:
        """Feed forward.

        Args:
            tokens: ``(B, L + N, D)``; overwritten in the optimised form.
            text: L.
            masks: of the N image tokens.
        """
        length = tokens.shape[1]
        if not self.optimised:
            return self._some(tokens, text, masks, slice(0, length - text))
        for start, stop in chunks(length):
            words = min(max(text - start, 0), stop - start)
            image = slice(start + words - text, stop - text)
            tokens[:, start:stop] = self._some(tokens[:, start:stop], words, masks, image)
        return tokens

    def _some(self, tokens: Tensor, text: int, masks: Masks, image: slice) -> Tensor:
        """The layer for a part of the sequence: ``text`` tokens of text, then these of the image."""
        first = self.net[0]
        assert isinstance(first, TCProjection)
        hidden = masks.hidden(image)
        hidden = adapted(first.proj, first.proj_TC_lora, tokens, hidden, text, optimised=self.optimised)
        hidden = F.gelu(hidden, approximate="tanh")
        mask = masks.mask[:, image]
        return adapted(self.net[2], self.proj_out_TC_lora, hidden, mask, text, optimised=self.optimised)


class STVSRBlock(nn.Module):
    """Attention and feed-forward layer, each between a modulated normalisation and a gate.

    Source: ``CogVideoXBlock`` of diffusers with the adapters of OSDEnhancer (arXiv 2601.20308, whose Eq. 7 has text and
    image alike; the official code adapts image tokens only).

    Args:
        config: of the transformer.
        optimised: work in place on the tokens given; ``False`` is the plain form.
    """

    def __init__(self, config: TransformerConfig, *, optimised: bool = True) -> None:
        super().__init__()
        self.norm1 = ModulatedNorm(config, optimised=optimised)
        self.attn1 = TCAttention(config, optimised=optimised)
        self.norm2 = ModulatedNorm(config, optimised=optimised)
        self.ff = TCFeedForward(config, optimised=optimised)

    def forward(self, tokens: Tensor, text: int, time: Tensor | None, masks: Masks, rope: Rope | None) -> Tensor:
        """Run the block.

        Args:
            tokens: ``(B, L + N, D)``; overwritten in the optimised form.
            text: L.
            time: ``(B, time_embed_dim)``; ``None`` where the modulation is known already.
            masks: of the image tokens.
            rope: of the image tokens.
        """
        normed, gates = self.norm1(tokens, text, time)
        tokens = gates.add(tokens, self.attn1(normed, text, masks.mask, rope))
        normed, gates = self.norm2(tokens, text, time)
        tokens = gates.add(tokens, self.ff(normed, text, masks))
        return tokens


def chunks(length: int) -> list[tuple[int, int]]:
    """First token, and the one after the last, of each part that is worked on at once.

    >>> chunks(20000)
    [(0, 8192), (8192, 16384), (16384, 20000)]
    """
    return [(start, min(start + CHUNK_TOKENS, length)) for start in range(0, length, CHUNK_TOKENS)]
