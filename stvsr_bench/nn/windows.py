"""Overlapping windows in time and tiles in space: how they are laid out and how their results become one.

One rule serves both: an axis of ``length`` is covered by spans of ``size`` that overlap by ``overlap``; where two
overlap, ``cut`` changes over in the middle, ``drop_head`` lets the earlier span win, ``blend`` cross-fades linearly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

Merge = Literal["cut", "drop_head", "blend"]


@dataclass(frozen=True)
class Span:
    """The half-open range ``start … stop - 1`` of one axis."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def scaled(self, factor: int) -> Span:
        """The same span on an axis with ``factor`` samples per sample (pixels)."""
        return Span(self.start * factor, self.stop * factor)

    def timed(self, factor: int) -> Span:
        """The same span where ``n`` frames become ``(n - 1)·factor + 1``: frame ``i`` sits at ``i·factor``."""
        return Span(self.start * factor, (self.stop - 1) * factor + 1)


def plan_spans(
    length: int, size: int, overlap: int, *, align: int = 1, last: Literal["short", "shift"] = "short"
) -> list[Span]:
    """Cover ``0 … length - 1`` with spans of ``size`` that overlap their neighbours by ``overlap``.

    Args:
        length: samples on the axis, at least 1.
        size: samples in a span; one span covers an axis that is not longer.
        overlap: samples shared by neighbours, less than ``size``; the stride ``size - overlap`` is rounded down to
            ``align``, at least one ``align``.
        align: every start is a multiple of it.
        last: ``short`` ends the last span at the axis' end; ``shift`` moves its start back (to a multiple of
            ``align``) so that it is at least ``size`` long, for networks that want full windows.

    Returns:
        The spans, in order; both starts and stops increase strictly.

    Raises:
        ValueError: a size that leaves no stride.

    >>> [(s.start, s.stop) for s in plan_spans(10, 4, 1)]
    [(0, 4), (3, 7), (6, 10)]
    """
    if length < 1 or align < 1 or not 0 <= overlap < size:
        raise ValueError(f"no spans of {size} with overlap {overlap}, align {align} cover {length}")
    if size >= length:
        return [Span(0, length)]
    stride = max((size - overlap) // align * align, align)
    if stride > size:
        raise ValueError(f"spans of {size} that start at multiples of {align} leave gaps")
    spans = []
    start = 0
    while start + size < length:
        spans.append(Span(start, start + size))
        start += stride
    if last == "shift":
        start = (length - size) // align * align
        spans = [s for s in spans if s.start < start]
    spans.append(Span(start, length))
    return spans


def keep_ranges(spans: Sequence[Span], mode: Literal["cut", "drop_head"] = "cut") -> list[Span]:
    """Say which part of the axis each span contributes; together they are an exact partition of it.

    Args:
        spans: as :func:`plan_spans` gives them, possibly scaled or timed.
        mode: ``cut`` changes over in the middle of an overlap (an odd middle sample goes to the earlier span),
            ``drop_head`` at its end.

    >>> [(k.start, k.stop) for k in keep_ranges(plan_spans(10, 4, 2))]
    [(0, 3), (3, 5), (5, 7), (7, 10)]
    """
    kept = []
    start = spans[0].start
    for span, after in zip(spans, [*spans[1:], None], strict=True):
        if after is None:
            stop = span.stop
        else:
            stop = span.stop if mode == "drop_head" else after.start + -(-(span.stop - after.start) // 2)
        kept.append(Span(start, stop))
        start = stop
    return kept


def blend_weights(spans: Sequence[Span]) -> list[torch.Tensor]:
    """Weights, one float32 vector per span, that cross-fade the overlaps and sum to 1 at every sample.

    Each span weighs a sample by its distance to the span's nearer inner end (the ends of the axis do not count); the
    weights are then divided by their sum. Two neighbours therefore fade linearly.

    >>> [w.tolist() for w in blend_weights([Span(0, 3), Span(1, 4)])]
    [[1.0, 0.666..., 0.333...], [0.333..., 0.666..., 1.0]]
    """
    first, last = spans[0].start, spans[-1].stop
    total = torch.zeros(last - first, dtype=torch.float64)
    raw = []
    for span in spans:
        at = torch.arange(span.start, span.stop, dtype=torch.float64)
        weight = torch.full_like(at, float(last - first))
        if span.start > first:
            weight = torch.minimum(weight, at - span.start + 1)
        if span.stop < last:
            weight = torch.minimum(weight, span.stop - at)
        raw.append(weight)
        total[span.start - first : span.stop - first] += weight
    return [(w / total[s.start - first : s.stop - first]).float() for w, s in zip(raw, spans, strict=True)]


def merge_stream(blocks: Iterable[torch.Tensor], spans: Sequence[Span], mode: Merge) -> Iterator[torch.Tensor]:
    """Merge the results of windows in time, in order, holding no more than the overlap.

    Args:
        blocks: one ``(len(span), …)`` tensor per span, produced when asked for.
        spans: the windows on the output axis.
        mode: ``blend`` yields float blocks; the others yield blocks of the input's type.

    Yields:
        Tensors that, concatenated on axis 0, cover the axis once.
    """
    if mode != "blend":
        for block, span, keep in zip(blocks, spans, keep_ranges(spans, mode), strict=True):
            if len(keep):
                yield block[keep.start - span.start : keep.stop - span.start]
        return
    held: torch.Tensor | None = None  # the weighted sum of what later windows still add to
    at = spans[0].start
    for i, (block, weight) in enumerate(zip(blocks, blend_weights(spans), strict=True)):
        part = block.float() * weight.to(block.device).view(-1, *[1] * (block.ndim - 1))
        if held is not None:
            part[: len(held)] += held
        ready = len(part) if i + 1 == len(spans) else spans[i + 1].start - at
        if ready:
            yield part[:ready]
        held, at = part[ready:], at + ready


def merge_tiles(
    tiles: Iterable[torch.Tensor], rows: Sequence[Span], columns: Sequence[Span], mode: Merge
) -> torch.Tensor:
    """Merge the results of tiles into one tensor on the CPU.

    Args:
        tiles: ``(…, len(row), len(column))`` tensors, row by row, produced when asked for.
        rows: spans of the output's height.
        columns: spans of the output's width.
        mode: ``blend`` returns float32; the others keep the tiles' type.
    """
    canvas: torch.Tensor | None = None
    pairs = [(r, c) for r in range(len(rows)) for c in range(len(columns))]
    keep = (keep_ranges(rows, mode), keep_ranges(columns, mode)) if mode != "blend" else None
    weights = (blend_weights(rows), blend_weights(columns)) if mode == "blend" else None
    for tile, (r, c) in zip(tiles, pairs, strict=True):
        tile = tile.cpu()
        row, column = rows[r], columns[c]
        if canvas is None:
            dtype = torch.float32 if weights else tile.dtype
            canvas = torch.zeros(*tile.shape[:-2], rows[-1].stop, columns[-1].stop, dtype=dtype)
        if weights:
            weight = weights[0][r][:, None] * weights[1][c]
            canvas[..., row.start : row.stop, column.start : column.stop] += tile.float() * weight
        elif keep:
            a, b = keep[0][r], keep[1][c]
            canvas[..., a.start : a.stop, b.start : b.stop] = tile[
                ..., a.start - row.start : a.stop - row.start, b.start - column.start : b.stop - column.start
            ]
    if canvas is None:
        raise ValueError("no tiles")
    return canvas
