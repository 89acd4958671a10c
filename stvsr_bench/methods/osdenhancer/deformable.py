"""What OSDEnhancer adds to the decoder: blocks that carry detail from frame to frame through deformable convolution.

A block visits the frames of its input one after another, forward or backward in time. Each frame is joined with its
already updated neighbour: the neighbour is aligned to it (:class:`Alignment`) and read by :class:`ChannelAttention`.
The features that the offsets were made from are handed to the block of the next finer level.

Source: Xu et al., «OSDEnhancer», arXiv 2601.20308, with the layers and parameter names of its official code (64dd6e5).
Differences from the official code: the cached frame's own update, which it discards, is not computed (optimised form),
and clips with no pairs or with an even number of latent frames work (:meth:`DeformableBlock._lower_features`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import DeformConv2d, deform_conv2d  # type: ignore[import-untyped]

GROUPS = 8
"""Groups of the deformable convolution, sets of offsets, and heads of the attention."""

_TAPS = 9
_REDUCED = (torch.bfloat16, torch.float16)


def _slope(x: Tensor) -> Tensor:
    return F.leaky_relu_(x, 0.1)


class DeformableConv(nn.Module):
    """Modulated 3x3 deformable convolution whose offsets and masks come from a feature, always in float32.

    It stays float32 when a module around it is cast to a 16-bit type; what comes in is cast up, the result back.

    Args:
        channels: C, a multiple of ``GROUPS``.
        optimised: compute offsets and masks with one convolution of 216 channels.
    """

    def __init__(self, channels: int, *, optimised: bool = True) -> None:
        super().__init__()
        self.optimised = optimised
        self.conv_offset = nn.Conv2d(channels, 2 * GROUPS * _TAPS, 3, padding=1)
        self.conv_mask = nn.Conv2d(channels, GROUPS * _TAPS, 3, padding=1)
        self.deform = DeformConv2d(channels, channels, 3, padding=1, groups=GROUPS)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> DeformableConv:
        def kept(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            if moved.dtype not in _REDUCED or tensor.dtype in _REDUCED:
                return moved
            return torch.empty_like(moved, dtype=tensor.dtype).copy_(tensor)  # placed as asked, values untouched

        super()._apply(kept, recurse)  # type: ignore[no-untyped-call]
        return self

    @torch.no_grad()
    def round_weights(self, dtype: torch.dtype) -> None:
        """Round the parameters through ``dtype`` and leave them as float32."""
        for parameter in self.parameters():
            parameter.data = parameter.data.to(dtype).float()

    def offsets_and_mask(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Return offsets ``(B, 144, h, w)`` in pixels, in torchvision's order, and masks ``(B, 72, h, w)`` in [0, 1].

        Args:
            feature: ``(B, C, h, w)`` in the dtype of the parameters.
        """
        if not self.optimised:
            return self.conv_offset(feature), torch.sigmoid(self.conv_mask(feature))
        weight = torch.cat([self.conv_offset.weight, self.conv_mask.weight])
        bias = torch.cat([self.conv_offset.bias, self.conv_mask.bias])  # type: ignore[list-item]
        both = F.conv2d(feature, weight, bias, padding=1)
        return both[:, : 2 * GROUPS * _TAPS], torch.sigmoid(both[:, 2 * GROUPS * _TAPS :])

    def forward(self, x: Tensor, feature: Tensor) -> Tensor:
        """Sample and filter ``x`` ``(B, C, h, w)`` where ``feature`` ``(B, C, h, w)`` says; same shape and dtype."""
        exact = self.deform.weight.dtype
        offset, mask = self.offsets_and_mask(feature.to(exact))
        out: Tensor = deform_conv2d(
            x.to(exact), offset, self.deform.weight, self.deform.bias, padding=(1, 1), mask=mask
        )
        return out.to(x.dtype)


class Alignment(nn.Module):
    """Aligns the neighbour to the current frame, with a hint from the level below.

    Args:
        channels: C.
        has_lower: there is a level below.
        optimised: see :class:`DeformableConv`.
    """

    def __init__(self, channels: int, *, has_lower: bool, optimised: bool = True) -> None:
        super().__init__()
        self.offset_conv1 = nn.Conv2d(2 * channels, channels, 3, padding=1)
        if has_lower:
            self.offset_conv12 = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.offset_conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.dcn_pack = DeformableConv(channels, optimised=optimised)

    def offset_feature(self, current: Tensor, neighbour: Tensor, lower: Tensor | None) -> Tensor:
        """Return the feature ``(B, C, h, w)`` that offsets are made from; ``lower`` has the same shape."""
        feature = _slope(self.offset_conv1(torch.cat([current, neighbour], 1)))
        if lower is not None:
            feature = _slope(self.offset_conv12(torch.cat([feature, 2 * lower], 1)))
        return _slope(self.offset_conv2(feature))

    def forward(self, current: Tensor, neighbour: Tensor, lower: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the aligned neighbour and the offset feature, each ``(B, C, h, w)``."""
        feature = self.offset_feature(current, neighbour, lower)
        return _slope(self.dcn_pack(neighbour, feature)), feature


class ChannelAttention(nn.Module):
    """Cross-attention among channels: every channel of the current frame reads those of the aligned neighbour.

    Channels are compared over the whole area given, so the result depends on the size of the tile.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(GROUPS, 1, 1))
        self.q_proj = nn.Conv2d(channels, channels, 1, bias=False)
        self.kv_proj = nn.Conv2d(channels, 2 * channels, 1, bias=False)
        self.q_dwconv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.kv_dwconv = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.project_out = nn.Conv2d(channels, channels, 1, bias=False)
        nn.init.zeros_(self.project_out.weight)

    def query(self, frames: Tensor) -> Tensor:
        """Return what frames ``(B, C, h, w)`` ask for, same shape; needs no neighbour."""
        out: Tensor = self.q_dwconv(self.q_proj(frames))
        return out

    def forward(self, current: Tensor, aligned: Tensor, query: Tensor | None = None) -> Tensor:
        """Return the current frame ``(B, C, h, w)`` with what it reads from the aligned neighbour added.

        Args:
            current: the frame.
            aligned: its neighbour.
            query: :meth:`query` of the frame, where it is known already.
        """
        q = self.query(current) if query is None else query
        k, v = self.kv_dwconv(self.kv_proj(aligned)).chunk(2, 1)
        q, k, v = (part.reshape(len(part), GROUPS, -1, part[0, 0].numel()) for part in (q, k, v))
        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        weights = ((q @ k.transpose(-2, -1)) * self.temperature).softmax(-1)
        read: Tensor = self.project_out((weights @ v).reshape(current.shape))
        return read + current


class LowerFeatures(nn.Module):
    """Brings the offset features of the level below to this level's size: nearest neighbour, then a 3x3 convolution.

    In time every entry is doubled where ``temporal`` is 2, other than in the stock upsampler, which keeps the first.
    """

    def __init__(self, lower_channels: int, channels: int, temporal: int) -> None:
        super().__init__()
        self.temporal = temporal
        self.conv = nn.Conv2d(lower_channels, channels, 3, padding=1)

    def forward(self, lower: Tensor) -> Tensor:
        """Return ``(B, C, temporal·T, 2h, 2w)`` from ``(B, C_low, T, h, w)``."""
        lower = F.interpolate(lower, scale_factor=(float(self.temporal), 2.0, 2.0))
        frames = lower.transpose(1, 2)
        filtered: Tensor = self.conv(frames.flatten(0, 1))
        return filtered.reshape(*frames.shape[:2], *filtered.shape[1:]).transpose(1, 2)


class DeformableBlock(nn.Module):
    """One level of the recurrence over frames (DRB).

    Args:
        channels: C, a multiple of ``GROUPS``.
        lower_channels: those of the level below; ``None`` where there is none.
        temporal: pairs of this level per pair of the level below.
        optimised: leave out the discarded update of the cached frame, compute all queries at once, and see
            :class:`DeformableConv`; the values are the same.
    """

    def __init__(
        self, channels: int, lower_channels: int | None = None, temporal: int = 2, *, optimised: bool = True
    ) -> None:
        super().__init__()
        self.optimised = optimised
        if lower_channels is not None:
            self.ver_align = LowerFeatures(lower_channels, channels, temporal)
        self.align = Alignment(channels, has_lower=lower_channels is not None, optimised=optimised)
        self.attn = ChannelAttention(channels)

    def forward(
        self,
        x: Tensor,
        cache: Tensor | None = None,
        lower: Tensor | None = None,
        *,
        reverse: bool,
        want_offsets: bool = True,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Update the frames one after another.

        Args:
            x: ``(B, C, T, h, w)``.
            cache: the last frame of what the chunk before returned, ``(B, C, 1, h, w)``; it comes before ``x``.
            lower: offset features of the level below, ``(B, C_low, P, h/2, w/2)``, sign already changed.
            reverse: go backward in time.
            want_offsets: return the offset features.

        Returns:
            The updated frames, the cache for the next chunk, and the offset features ``(B, C, P', h, w)``, one per
            pair of neighbouring frames, the cached one included; ``None`` where there are none or none are wanted.
        """
        frames = list(x.unbind(2))
        if cache is not None:
            frames.insert(0, cache[:, :, 0])
        pairs = len(frames) - 1
        if pairs == 0:
            return x, x.clone(), None
        features = self._lower_features(lower, pairs)
        queries = self._queries(frames, reverse, cached=cache is not None)
        # the frame visited first, at the end that the pass starts from, stays as it is
        for step in range(pairs):
            pair = pairs - 1 - step if reverse else step
            current, neighbour = (pair, pair + 1) if reverse else (pair + 1, pair)
            frame, beside, hint = frames[current], frames[neighbour], features[pair]
            if self.optimised and cache is not None and current == 0:  # of the cached frame nothing else is used
                features[pair] = self.align.offset_feature(frame, beside, hint)
                continue
            aligned, features[pair] = self.align(frame, beside, hint)
            frames[current] = self.attn(frame, aligned, queries.pop(current, None))
        out = torch.stack(frames if cache is None else frames[1:], 2)
        offsets = torch.stack([f for f in features if f is not None], 2) if want_offsets else None
        return out, out[:, :, -1:].clone(), offsets

    def _lower_features(self, lower: Tensor | None, pairs: int) -> list[Tensor | None]:
        """Return the hint of each pair of frames.

        A pair takes the hint of the coarse pair that ends at the coarse frame which the pair's second frame comes from.
        A first chunk with an even number of latent frames has its first frame doubled as well, by the stock
        upsampler: its leading pair lies inside the first coarse frame, where no coarse pair ends, and takes the first
        hint there is. (The official code fails there.)
        """
        if lower is None:
            return [None] * pairs
        hints: list[Tensor | None] = list(self.ver_align(lower).unbind(2))
        return hints[:1] * (pairs - len(hints)) + hints

    def _queries(self, frames: list[Tensor], reverse: bool, *, cached: bool) -> dict[int, Tensor]:
        """Return the queries of the frames that will be updated, by number: a frame's own does not wait for others."""
        if not self.optimised:
            return {}
        numbers = range(1 if cached or not reverse else 0, len(frames) - 1 if reverse else len(frames))
        if not numbers:
            return {}
        queries = self.attn.query(torch.cat([frames[i] for i in numbers]))
        return dict(zip(numbers, queries.chunk(len(numbers)), strict=True))
