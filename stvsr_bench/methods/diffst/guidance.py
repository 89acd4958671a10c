"""Video representation guidance (VRG): what the low-quality video shows, as context of the diffusion network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from stvsr_bench.core.errors import ConfigError, MethodError, WeightError

Layout = Literal["channel", "token", "infvsr", "direct"]
Guidance = Literal["text", "video", "video_text"]
LAYOUTS: tuple[Layout, ...] = ("channel", "token", "infvsr", "direct")
GUIDANCES: tuple[Guidance, ...] = ("text", "video", "video_text")
TEXT_DIM = 4096
"""Channels of a prompt's embedding (UMT5-XXL)."""


def keyframe_indices(frames: int, count: int = 5) -> list[int]:
    """Return which frames of a clip guide it: ``floor(linspace(0, frames - 1, count) + 0.5)``, in integers.

    Halves go up (Python's ``round`` would take the even neighbour), and a clip shorter than ``count`` repeats frames.

    Raises:
        MethodError: there is no frame, or none is wanted.

    >>> keyframe_indices(12)
    [0, 3, 6, 8, 11]
    >>> keyframe_indices(2)
    [0, 0, 1, 1, 1]
    """
    if frames < 1 or count < 1:
        raise MethodError(
            "no keyframes can be chosen", got=f"{frames} frames, {count} keyframes", accepted="at least 1 of each"
        )
    steps = max(count - 1, 1)
    return [(2 * index * (frames - 1) + steps) // (2 * steps) for index in range(count)]


class VideoGuidance(nn.Module):
    """Learned queries read the keyframes' tokens by cross-attention; a projector fuses what they found with the text.

    With ``e_v = MHCA(Q, e_all, e_all)`` and the prompt's embedding ``e_t`` the context is, by ``layout``:

    - ``channel`` (default): one linear layer on ``[e_v, e_t]`` joined in channels, so that there are as many queries as
      text tokens. At the start its e_t block is the identity and the rest zero: the context is ``e_t`` exactly, the
      pre-trained text path is untouched, and the gradient still reaches the e_v block.
    - ``token``: ``e_v`` lifted to the text's channels, ``[e_v, e_t]`` joined in tokens, then one linear layer on every
      token. At the start the lift is zero and the layer the identity: empty tokens, then ``e_t`` exactly.
    - ``infvsr``: ``e_v`` itself, for a diffusion network whose first text layer takes ``width`` channels; no text.
    - ``direct``: like ``channel`` with the channels of the diffusion network's blocks, past its text layers.

    ``guidance`` are the rows of the paper's Table 3: ``text`` has no parameters and gives ``e_t`` itself; ``video``
    projects ``e_v`` alone, from an ordinary start, because there is no text path to keep.

    The paper (DiffST, arXiv 2605.13182, equation 6) states attention, learned queries and projector; number of queries,
    axis of the concatenation and start of the projector are ours.

    Args:
        layout: one of :data:`LAYOUTS`.
        guidance: one of :data:`GUIDANCES`.
        num_queries: learned queries; ``channel`` and ``direct`` need ``text_tokens`` of them beside text.
        frame_position: learn an offset for each keyframe (zero at the start); equation 6 has none.
        width: channels of queries and attention.
        heads: of the attention.
        feature_dim: channels of the keyframes' tokens.
        keyframes: of a clip.
        text_dim: channels of the prompt's embedding.
        text_tokens: tokens of the prompt's embedding.
        hidden_dim: channels of the diffusion network's blocks, for ``direct``.

    Raises:
        ConfigError: a name is unknown, or layout, guidance and number of queries do not go together.
    """

    frame_position: nn.Parameter | None

    def __init__(
        self,
        *,
        layout: Layout = "channel",
        guidance: Guidance = "video_text",
        num_queries: int = 512,
        frame_position: bool = False,
        width: int = 512,
        heads: int = 8,
        feature_dim: int = 512,
        keyframes: int = 5,
        text_dim: int = TEXT_DIM,
        text_tokens: int = 512,
        hidden_dim: int = 1536,
    ) -> None:
        super().__init__()
        _check(layout, guidance, num_queries, text_tokens)
        self.layout, self.guidance = layout, guidance
        self.needs_video = guidance != "text"
        self.needs_text = guidance != "video"
        self.skips_text_layers = layout == "direct" and self.needs_video
        """Whether the context goes to the blocks of the diffusion network, past its ``text_embedder``."""
        self.context_dim = text_dim
        """Channels of the context."""
        if self.needs_video:
            self.context_dim = {"infvsr": width, "direct": hidden_dim}.get(layout, text_dim)
        self.feature_shape = (keyframes, feature_dim)
        self.text_shape = (text_tokens, text_dim)
        if not self.needs_video:
            return
        self.queries = nn.Parameter(torch.randn(num_queries, width) * 0.02)
        other = feature_dim if feature_dim != width else None
        self.attention = nn.MultiheadAttention(width, heads, kdim=other, vdim=other, batch_first=True)
        offsets = nn.Parameter(torch.zeros(keyframes, feature_dim)) if frame_position else None
        self.register_parameter("frame_position", offsets)
        if layout == "token":
            self.lift = nn.Linear(width, text_dim)
            self.projector = nn.Linear(text_dim, text_dim)
        elif layout != "infvsr":
            self.projector = nn.Linear(width + text_dim if self.needs_text else width, self.context_dim)
        if self.needs_text and layout in ("channel", "token"):
            self._start_as_text()

    @torch.no_grad()
    def _start_as_text(self) -> None:
        """Let the context be the prompt's embedding."""
        self.projector.weight.zero_()
        self.projector.bias.zero_()
        self.projector.weight[:, -self.context_dim :].fill_diagonal_(1)
        if self.layout == "token":
            self.lift.weight.zero_()
            self.lift.bias.zero_()

    def forward(self, features: Tensor | None, prompt: Tensor | None) -> Tensor:
        """Return the context of the diffusion network.

        Args:
            features: ``(B, keyframes, tokens, feature_dim)`` from DAPE; not looked at where the guidance is ``text``.
            prompt: ``(1, text_tokens, text_dim)`` or ``(B, …)``; not looked at where it is ``video``.

        Returns:
            ``(B, L, context_dim)``: L is ``text_tokens``, for ``token`` with text ``num_queries`` more, and
            ``num_queries`` without text.

        Raises:
            MethodError: what the guidance needs is not given, or has another shape.
        """
        if not self.needs_video:
            return self._text(prompt)
        seen = self.look(features)
        if self.layout == "infvsr":
            return seen
        if self.layout == "token":
            seen = self.lift(seen)
        if self.needs_text:
            text = self._text(prompt).to(seen.dtype).expand(len(seen), -1, -1)
            seen = torch.cat([seen, text], 1 if self.layout == "token" else 2)
        context: Tensor = self.projector(seen)
        return context

    def _text(self, prompt: Tensor | None) -> Tensor:
        """The prompt's embedding, which has to be there."""
        if prompt is None or prompt.ndim != 3 or prompt.shape[1:] != self.text_shape:
            raise MethodError(
                "the guidance needs the prompt's embedding",
                got="none" if prompt is None else f"shape {list(prompt.shape)}",
                accepted=f"[1 or B, {self.text_shape[0]}, {self.text_shape[1]}]",
            )
        return prompt

    def look(self, features: Tensor | None) -> Tensor:
        """Return ``e_v``, ``(B, num_queries, width)``: what the queries find in the keyframes.

        Raises:
            MethodError: features are not given or have another shape.
        """
        keyframes, channels = self.feature_shape
        if features is None or features.ndim != 4 or features.shape[1::2] != self.feature_shape:
            raise MethodError(
                "the guidance needs the tokens of the keyframes",
                got="none" if features is None else f"shape {list(features.shape)}",
                accepted=f"[B, {keyframes}, tokens, {channels}]",
            )
        features = features.to(self.queries.dtype)
        if self.frame_position is not None:
            features = features + self.frame_position[:, None]
        tokens = features.flatten(1, 2)
        queries = self.queries.expand(len(tokens), -1, -1)
        seen: Tensor = self.attention(queries, tokens, tokens, need_weights=False)[0]
        return seen


def guidance_settings(tensors: Mapping[str, Tensor], *, text_dim: int = TEXT_DIM) -> dict[str, Any]:
    """Return the settings of :class:`VideoGuidance` that the shapes of its tensors tell.

    Args:
        tensors: the group ``vrg.`` of a checkpoint, without that prefix, under the names of :class:`VideoGuidance`.
        text_dim: channels of the prompt's embedding, by which ``direct`` is known from ``channel``.

    Returns:
        Arguments for the constructor. Not told, and left out: ``heads``, ``text_tokens``, and for ``token`` whether
        there is text. Without any tensor the guidance is ``text``.

    Raises:
        WeightError: the shapes are those of no layout. Whether every tensor fits is left to the strict loading.
    """
    if not tensors:
        return {"guidance": "text"}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    queries, projector, lift = (shapes.get(name) for name in ("queries", "projector.weight", "lift.weight"))
    keys, position = shapes.get("attention.k_proj_weight"), shapes.get("frame_position")
    sizes = {queries: 2, projector: 2, lift: 2, keys: 2, position: 2}
    if queries is None or any(shape is not None and len(shape) != rank for shape, rank in sizes.items()):
        raise _unexplained(shapes)
    width = queries[1]
    found: dict[str, Any] = {"num_queries": queries[0], "width": width, "feature_dim": keys[1] if keys else width}
    found["frame_position"] = position is not None
    if position is not None:
        found["keyframes"] = position[0]
    if projector is None and lift is None:
        return found | {"layout": "infvsr", "guidance": "video"}
    if projector is None:
        raise _unexplained(shapes)
    if lift is not None:
        if lift != (projector[0], width) or projector[0] != projector[1]:
            raise _unexplained(shapes)
        return found | {"layout": "token", "text_dim": lift[0]}
    if projector[1] not in (width, width + text_dim):
        raise _unexplained(shapes)
    found["guidance"] = "video" if projector[1] == width else "video_text"
    if projector[0] == text_dim:
        return found | {"layout": "channel", "text_dim": text_dim}
    return found | {"layout": "direct", "text_dim": text_dim, "hidden_dim": projector[0]}


def _unexplained(shapes: Mapping[str, tuple[int, ...]]) -> WeightError:
    return WeightError(
        "the parameters of the video guidance are those of no known layout",
        got=", ".join(f"{name} {list(shape)}" for name, shape in sorted(shapes.items())),
        accepted="queries [L, W] and attention; for channel and direct projector [out, W + text] or [out, W], "
        "for token lift [text, W] and projector [text, text], for infvsr neither",
    )


def _check(layout: str, guidance: str, num_queries: int, text_tokens: int) -> None:
    for what, value, known in (("layout", layout, LAYOUTS), ("guidance", guidance, GUIDANCES)):
        if value not in known:
            raise ConfigError(f"the video guidance has no such {what}", got=repr(value), accepted=", ".join(known))
    if layout == "infvsr" and guidance != "video":
        raise ConfigError(
            "the layout 'infvsr' has no place for text",
            got=f"guidance '{guidance}'",
            accepted="guidance 'video'",
            action="choose it, or another layout",
        )
    if num_queries < 1 or text_tokens < 1:
        raise ConfigError("the video guidance needs queries and text tokens", got=f"{num_queries}, {text_tokens}")
    if layout in ("channel", "direct") and guidance == "video_text" and num_queries != text_tokens:
        raise ConfigError(
            f"the layout '{layout}' joins queries and text tokens in channels, one with one",
            got=f"{num_queries} queries, {text_tokens} text tokens",
            accepted=f"{text_tokens} queries",
            action="choose it, or the layout 'token'",
        )
