"""Comparison strips: one picture per clip that shows what the numbers mean."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stvsr_bench.core.atomic import atomic_write

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]
"""RGB ``(H, W, 3)`` uint8."""

_INK, _PALE, _PAPER, _FRAME = (24, 24, 27), (82, 82, 91), (255, 255, 255), (220, 38, 38)
_EMPTY = (240, 240, 242)
_GAP, _MARGIN = 8, 16


class Box(NamedTuple):
    """A rectangle in pixels of the ground truth."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class StripRow:
    """One output frame in every version of it.

    Attributes:
        title: for example «Frame 8 (key)».
        gt: ground truth, or ``None``.
        lq: what the method saw, or ``None``; shown enlarged to the outputs' size by repeating pixels.
        outputs: one picture per method, all of one size, which is also the ground truth's.
        captions: one short text per method, for example ``"24.31 dB"``; empty: none.
        lq_caption: for example «mean of two frames» at a time that has no LQ frame.
    """

    title: str
    gt: Picture | None
    lq: Picture | None
    outputs: Sequence[Picture]
    captions: Sequence[str] = ()
    lq_caption: str = "enlarged"


def comparison_strip(
    rows: Sequence[StripRow], methods: Sequence[str], *, title: str = "", panel_width: int = 320, zoom: int = 4
) -> Picture:
    """Draw GT, LQ and every method side by side; below each row a crop of it, enlarged by repeating pixels.

    Args:
        rows: frames of one clip, for example a key frame and an interpolated one.
        methods: one heading per output.
        title: headline, for example clip and protocol.
        panel_width: widest panel in pixels; larger frames are shown reduced, their crops never.
        zoom: how much the crops are enlarged.

    Returns:
        RGB ``(H, W, 3)`` uint8. Columns for GT and LQ are left out where no row has them.

    Raises:
        ValueError: no row, or a row whose pictures do not match ``methods`` or one another.
    """
    from PIL import Image, ImageDraw

    height, width = _check(rows, methods)
    panel_w = min(panel_width, width)
    panel_h = max(1, round(height * panel_w / width))
    has_gt, has_lq = any(row.gt is not None for row in rows), any(row.lq is not None for row in rows)
    heads = [*(["GT"] if has_gt else []), *(["LQ"] if has_lq else []), *methods]
    small, large = _font(max(14, panel_w // 20)), _font(max(17, panel_w // 16))
    line, head_line = _line_height(small), _line_height(large)
    row_h = head_line + _GAP + panel_h + line + panel_h + 2 * _MARGIN
    top = _MARGIN + (head_line + _GAP if title else 0)
    canvas = Image.new(
        "RGB",
        (2 * _MARGIN + len(heads) * (panel_w + _GAP) - _GAP, top + line + _GAP + len(rows) * row_h),
        _PAPER,
    )
    draw = ImageDraw.Draw(canvas)
    xs = [_MARGIN + i * (panel_w + _GAP) for i in range(len(heads))]
    if title:
        draw.text((_MARGIN, _MARGIN), _shortened(title, large, canvas.width - 2 * _MARGIN), font=large, fill=_INK)
    for x, head in zip(xs, heads, strict=True):
        _centred(draw, head, x, top, panel_w, small, _INK)
    y = top + line + _GAP
    for row in rows:
        draw.text((_MARGIN, y), _shortened(row.title, large, canvas.width - 2 * _MARGIN), font=large, fill=_INK)
        box = crop_box(row, max(1, panel_h // zoom), max(1, panel_w // zoom))
        for index, (x, (picture, caption)) in enumerate(zip(xs, _panels(row, has_gt, has_lq), strict=True)):
            upper = y + head_line + _GAP
            lower = upper + panel_h + line
            _centred(draw, caption, x, upper + panel_h + 1, panel_w, small, _PALE)
            canvas.paste(_reduced(picture, panel_h, panel_w), (x, upper))
            canvas.paste(_zoomed(picture, box, panel_h, panel_w), (x, lower))
            if index == 0:
                scale = panel_w / width
                left, above = x + round(box.left * scale), upper + round(box.top * scale)
                right, below = left + round(box.width * scale) - 1, above + round(box.height * scale) - 1
                draw.rectangle((left, above, right, below), outline=_FRAME, width=2)
        y += row_h
    return np.asarray(canvas)


def _panels(row: StripRow, has_gt: bool, has_lq: bool) -> list[tuple[Picture | None, str]]:
    """Return picture and caption of every column of ``row``."""
    height, width = row.outputs[0].shape[:2]
    panels: list[tuple[Picture | None, str]] = []
    if has_gt:
        panels.append((row.gt, ""))
    if has_lq:
        panels.append((None if row.lq is None else enlarge(row.lq, height, width), row.lq_caption))
    return panels + list(zip(row.outputs, row.captions or [""] * len(row.outputs), strict=True))


def _reduced(picture: Picture | None, height: int, width: int) -> Image.Image:
    """Return the whole picture at the panel's size, averaged, never enlarged; an empty panel without a picture."""
    from PIL import Image

    if picture is None:
        return Image.new("RGB", (width, height), _EMPTY)
    return Image.fromarray(np.ascontiguousarray(picture)).resize((width, height), Image.Resampling.BOX)


def _zoomed(picture: Picture | None, box: Box, height: int, width: int) -> Image.Image:
    from PIL import Image

    if picture is None:
        return Image.new("RGB", (width, height), _EMPTY)
    return Image.fromarray(enlarge(picture[box.top :, box.left :][: box.height, : box.width], height, width))


def crop_box(row: StripRow, height: int, width: int, step: int = 4) -> Box:
    """Return the window that tells the methods apart best.

    With ground truth: where the largest and the smallest sum of absolute errors differ most (one method: where its
    error is largest). Without: where the outputs differ most (one method: where it has most detail). Windows lie on a
    grid of ``step`` pixels, off the border where there is room; the first of equals wins. Integer sums: deterministic.
    """
    outputs = [output.astype(np.int64) for output in row.outputs]
    if row.gt is not None:
        gt = row.gt.astype(np.int64)
        errors = [_window_sums(np.abs(output - gt).sum(axis=2), height, width) for output in outputs]
        score = errors[0] if len(errors) == 1 else np.max(errors, axis=0) - np.min(errors, axis=0)
    elif len(outputs) > 1:
        spread = np.max(outputs, axis=0) - np.min(outputs, axis=0)
        score = _window_sums(spread.sum(axis=2), height, width)
    else:
        gray = outputs[0].sum(axis=2)
        detail = np.abs(np.diff(gray, axis=0, append=gray[-1:])) + np.abs(np.diff(gray, axis=1, append=gray[:, -1:]))
        score = _window_sums(detail, height, width)
    margins = [min(size // 16, (count - 1) // 2) for size, count in zip(outputs[0].shape, score.shape, strict=False)]
    inner = score[margins[0] : score.shape[0] - margins[0] : step, margins[1] : score.shape[1] - margins[1] : step]
    best = np.unravel_index(int(np.argmax(inner)), inner.shape)
    return Box(margins[0] + int(best[0]) * step, margins[1] + int(best[1]) * step, height, width)


def enlarge(picture: Picture, height: int, width: int) -> Picture:
    """Return ``picture`` at ``(height, width)`` by repeating the nearest pixel, so that nothing is smoothed."""
    rows = np.arange(height) * picture.shape[0] // height
    columns = np.arange(width) * picture.shape[1] // width
    enlarged: Picture = np.ascontiguousarray(picture[rows][:, columns])
    return enlarged


def save_strip(path: str | os.PathLike[str], strip: Picture) -> None:
    """Write ``strip`` as PNG, atomically.

    Raises:
        ResultError: the file cannot be written.
    """
    from PIL import Image

    with atomic_write(path, "wb") as file:
        Image.fromarray(strip).save(file, format="PNG", optimize=True)


def _check(rows: Sequence[StripRow], methods: Sequence[str]) -> tuple[int, int]:
    if not rows or not methods:
        raise ValueError("a strip needs at least one row and one method")
    shape = rows[0].outputs[0].shape if rows[0].outputs else ()
    for row in rows:
        pictures = [*row.outputs, *([row.gt] if row.gt is not None else [])]
        if len(row.outputs) != len(methods) or (row.captions and len(row.captions) != len(methods)):
            raise ValueError(f"row '{row.title}' has {len(row.outputs)} outputs for {len(methods)} methods")
        if any(picture.shape != shape or picture.dtype != np.uint8 for picture in pictures):
            raise ValueError(f"row '{row.title}' mixes pictures of {sorted({str(p.shape) for p in pictures})}")
    height, width = shape[:2]
    return height, width


def _window_sums(values: NDArray[np.int64], height: int, width: int) -> NDArray[np.int64]:
    """Return the sum of every ``height × width`` window, indexed by its top left corner."""
    total = np.pad(values.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    sums: NDArray[np.int64] = (
        total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    )
    return sums


def _font(size: int) -> ImageFont.FreeTypeFont:
    from PIL import ImageFont

    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("Pillow was built without FreeType")
    return font


def _line_height(font: ImageFont.FreeTypeFont) -> int:
    ascent, descent = font.getmetrics()
    return ascent + descent + 4


def _shortened(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _centred(
    draw: ImageDraw.ImageDraw,
    text: str,
    x: int,
    y: int,
    width: int,
    font: ImageFont.FreeTypeFont,
    fill: tuple[int, int, int],
) -> None:
    text = _shortened(text, font, width)
    draw.text((x + (width - font.getlength(text)) / 2, y), text, font=font, fill=fill)
