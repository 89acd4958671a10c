"""What OSDEnhancer makes of the clip before it encodes: chunks, the initial video, the residual video, their padding.

Every function works on any range of output frames, with the same values as on the whole clip: an output frame depends
on the one or two LQ frames around it. LQ frame ``i`` sits at output frame ``i·φt``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stvsr_bench.nn.padding import padded_length
from stvsr_bench.nn.windows import Span, plan_spans

SIDE = 16
"""Heights and widths are padded to multiples of this: the VAE divides by 8, the transformer's patches by 2."""

COUNT = 8
"""Frame counts are padded to ``COUNT·n + 1``: the VAE keeps one frame and takes the others eight at a time."""

_PIXELS = 1 << 22


@dataclass(frozen=True)
class Padding:
    """Frames repeated at the end, and pixels mirrored on every side; the odd one goes to the bottom and the right."""

    frames: int
    left: int
    right: int
    top: int
    bottom: int


def padding_of(count: int, height: int, width: int) -> Padding:
    """The padding of ``count`` output frames ``(height, width)``.

    >>> padding_of(10, 50, 55)
    Padding(frames=7, left=4, right=5, top=7, bottom=7)
    """
    tall, wide = padded_length(height, SIDE) - height, padded_length(width, SIDE) - width
    return Padding(
        frames=padded_length(count, COUNT, 1) - count,
        left=wide // 2,
        right=wide - wide // 2,
        top=tall // 2,
        bottom=tall - tall // 2,
    )


def plan_chunks(total: int, length: int | None, overlap: int) -> list[Span]:
    """Cover ``total`` output frames with chunks of ``length`` (``None``: one), the last one shifted back to be whole.

    >>> [(chunk.start, chunk.stop) for chunk in plan_chunks(17, 9, 3)]
    [(0, 9), (6, 15), (8, 17)]
    """
    if length is None or length >= total:
        return [Span(0, total)]
    return plan_spans(total, length, overlap, last="shift")


def needed(span: Span, time_scale: int) -> Span:
    """The LQ frames that the output frames of ``span`` are made of.

    >>> needed(Span(6, 15), 2), needed(Span(4, 5), 4)
    (Span(start=3, stop=8), Span(start=1, stop=2))
    """
    return Span(span.start // time_scale, -(-(span.stop - 1) // time_scale) + 1)


def upsample(frames: Tensor, scale: float) -> Tensor:
    """Return ``(T, 3, h, w)`` enlarged to ``(T, 3, ⌊h·scale⌋, ⌊w·scale⌋)`` and clamped to [0, 1].

    Bilinear between pixel centres; the sampling step is exactly ``1 / scale``, also where the side is rounded down.
    """
    if scale != 1:
        frames = F.interpolate(frames, scale_factor=scale, mode="bilinear", align_corners=False)
    return frames.clamp(0, 1)


def blend(frames: Tensor, span: Span, time_scale: int) -> Tensor:
    """Return the LQ-sized output frames of ``span``: the given ones, and linear mixtures of neighbours between them.

    Args:
        frames: float32 ``(T, 3, h, w)``.
        span: output frames, counted from the first of ``frames``.
        time_scale: φt.

    Returns:
        ``(len(span), 3, h, w)``.
    """
    mixed = []
    for i, k in (divmod(at, time_scale) for at in range(span.start, span.stop)):
        t = k / time_scale
        mixed.append((1 - t) * frames[i] + t * frames[i + 1] if k else frames[i])
    return torch.stack(mixed)


def initial(frames: Tensor, span: Span, scale: float, time_scale: int) -> Tensor:
    """Return the output frames of ``span`` as blending and enlarging give them, ``(len(span), 3, H, W)`` in [0, 1]."""
    return upsample(blend(frames, span, time_scale), scale)


def residual(frames: Tensor, span: Span, scale: float, time_scale: int) -> Tensor:
    """Return how each pair of LQ frames differs, at the frames between them; zeros at the LQ frames' own times.

    Args:
        frames: float32 ``(T, 3, h, w)`` in [0, 1].
        span: output frames, counted from the first of ``frames``.
        scale: φs.
        time_scale: φt.

    Returns:
        ``(len(span), 3, H, W)`` in [-1, 1]: later minus earlier frame, both enlarged.
    """
    source = needed(span, time_scale)
    large = upsample(frames[source.start : source.stop], scale)
    out = large.new_zeros(len(span), *large.shape[1:])
    for j, at in enumerate(range(span.start, span.stop)):
        i, k = divmod(at, time_scale)
        if k:
            torch.sub(large[i - source.start + 1], large[i - source.start], out=out[j])
    return out


def initial_video(
    frames: Tensor, span: Span, scale: float, time_scale: int, padding: Padding, dtype: torch.dtype
) -> Tensor:
    """The padded input of the VAE for the initial video: ``(1, 3, T, H, W)`` in [-1, 1], in ``dtype``.

    Args:
        frames: float32 ``(T, 3, h, w)`` in [0, 1].
        span: output frames, counted from the first of ``frames``.
        scale: φs.
        time_scale: φt.
        padding: as :func:`padding_of` gives it for ``len(span)`` frames.
        dtype: the VAE's.
    """
    pieces = (initial(frames, part, scale, time_scale) * 2 - 1 for part in _parts(frames, span, scale))
    return _padded(pieces, len(span), padding, dtype)


def residual_video(
    frames: Tensor, span: Span, scale: float, time_scale: int, padding: Padding, dtype: torch.dtype
) -> Tensor:
    """The padded input of the VAE for the residual video; as :func:`initial_video`, with the values as they are."""
    pieces = (residual(frames, part, scale, time_scale) for part in _parts(frames, span, scale))
    return _padded(pieces, len(span), padding, dtype)


def mirrored(length: int, before: int, after: int) -> Tensor:
    """Indices that put samples on both sides of ``length``: mirrored without repeating the edge, then held.

    Up to ``length - 1`` samples on a side this is ``reflect``; the official code fails where more are missing.

    >>> mirrored(3, 2, 1).tolist(), mirrored(2, 3, 2).tolist()
    ([2, 1, 0, 1, 2, 1], [0, 0, 1, 0, 1, 0, 0])
    """
    index = torch.arange(-before, length + after).abs()
    return torch.where(index < length, index, (2 * (length - 1) - index).clamp(min=0))


def unpad(video: Tensor, padding: Padding) -> Tensor:
    """Return ``(B, C, T, H, W)`` without its padding."""
    count, height, width = video.shape[-3:]
    return video[
        ...,
        : count - padding.frames,
        padding.top : height - padding.bottom,
        padding.left : width - padding.right,
    ]


def finished(video: Tensor) -> Tensor:
    """Return decoded frames of any dtype as float32 in [0, 1]."""
    return (0.5 * video.float() + 0.5).clamp(0, 1)


def _parts(frames: Tensor, span: Span, scale: float) -> Iterator[Span]:
    """``span`` in pieces of a bounded number of pixels, so that float32 frames never exist for all of it."""
    step = max(1, int(_PIXELS / (frames.shape[-2] * frames.shape[-1] * scale**2)))
    for start in range(span.start, span.stop, step):
        yield Span(start, min(start + step, span.stop))


def _padded(pieces: Iterator[Tensor], count: int, padding: Padding, dtype: torch.dtype) -> Tensor:
    """Frames ``(t, 3, H, W)``, mirrored at the sides, as one video whose last frame is repeated."""
    video: Tensor | None = None
    at = 0
    for piece in pieces:
        rows = mirrored(piece.shape[-2], padding.top, padding.bottom).to(piece.device)
        columns = mirrored(piece.shape[-1], padding.left, padding.right).to(piece.device)
        wide = piece.to(dtype).index_select(-2, rows).index_select(-1, columns)
        if video is None:
            video = wide.new_empty(1, wide.shape[1], count + padding.frames, *wide.shape[-2:])
        video[0, :, at : at + len(wide)] = wide.transpose(0, 1)
        at += len(wide)
    if video is None or at != count:
        raise ValueError(f"{at} frames were made where {count} were announced")
    video[:, :, count:] = video[:, :, count - 1 : count]
    return video
