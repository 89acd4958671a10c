"""Marks that 8-bit Y'CbCr and halved chroma leave in RGB: the frames passed through JPEG or lossy video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
"""uint8 RGB ``(3, H, W)``."""

LUMA_WEIGHTS = {
    "BT.601 limited range": (65.481 / 255, 128.553 / 255, 24.966 / 255),
    "BT.601 full range (JPEG)": (0.299, 0.587, 0.114),
    "BT.709 limited range": (0.2126 * 219 / 255, 0.7152 * 219 / 255, 0.0722 * 219 / 255),
    "BT.709 full range": (0.2126, 0.7152, 0.0722),
}
WHOLE_LUMA = 0.25
"""Concentration of luma on whole numbers from which it counts as 8-bit luma; rounding RGB alone leaves 0.48 or 0.57."""
WHOLE_LUMA_OVER_TRUTH = 0.15
HALVED_CHROMA = 0.5
"""Logarithm of the ratio of chroma steps between and within pairs of pixels from which chroma counts as halved."""
SAME_DETAIL = 0.05
"""Correlation of the finest detail from which an output may be made of GT's own pixels."""
_MOST_COLOURS = 60_000
_FEWEST_COLOURS = 500
_STEP_LIMIT = 16.0


@dataclass(frozen=True)
class Marks:
    """What frames show.

    Attributes:
        luma: by the names of :data:`LUMA_WEIGHTS`, how much luma gathers on whole numbers: 0 … 1.
        chroma: logarithm of chroma steps between pairs of pixels over those within, less the same of luma.
    """

    luma: dict[str, float]
    chroma: float


def marks_of(pictures: Sequence[Picture]) -> Marks:
    """Return the medians over ``pictures``."""
    tables = [_whole_luma(picture) for picture in pictures]
    luma = {name: float(np.median([table[name] for table in tables])) for name in LUMA_WEIGHTS}
    return Marks(luma, float(np.median([_halved_chroma(picture) for picture in pictures])))


def _whole_luma(picture: Picture) -> dict[str, float]:
    """|mean of exp(2πi·Y')| over the different colours of a frame, leaving clipped samples out.

    Every colour counts once: plain areas would otherwise gather luma by themselves.
    """
    red, green, blue = (channel.astype(np.uint32).ravel() for channel in picture)
    packed = np.sort(red << 16 | green << 8 | blue)
    colours = packed[np.flatnonzero(np.diff(packed, prepend=packed[:1] + 1))]  # np.unique hashes, ten times as slowly
    colours = colours[:: max(1, len(colours) // _MOST_COLOURS)]
    rgb = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=-1).astype(np.float64)
    rgb = rgb[(rgb.min(axis=1) > 2) & (rgb.max(axis=1) < 253)]
    if len(rgb) < _FEWEST_COLOURS:
        return dict.fromkeys(LUMA_WEIGHTS, 0.0)
    return {
        name: float(np.abs(np.exp(2j * np.pi * (rgb @ np.array(weights))).mean()))
        for name, weights in LUMA_WEIGHTS.items()
    }


def _halved_chroma(picture: Picture) -> float:
    red, green, blue = (channel.astype(np.float32) for channel in picture)
    values = []
    for transposed in (False, True):
        planes = [p.T if transposed else p for p in (red - green, blue - green, green)]
        first, second, luma = (_pair_ratio(plane) for plane in planes)
        values.append((first + second) / 2 - luma)
    return float(min(values))


def _pair_ratio(plane: npt.NDArray[np.float32]) -> float:
    """Logarithm of mean steps from odd to even columns over those from even to odd ones."""
    steps = np.minimum(np.abs(np.diff(plane, axis=1)), _STEP_LIMIT)
    within, between = float(steps[:, 0::2].mean()), float(steps[:, 1::2].mean())
    return float(np.log((between + 0.02) / (within + 0.02)))


def same_detail(output: Picture, truth: Picture) -> float:
    """Return the correlation of the finest detail of two frames: near 1 for copies, low for restored ones."""
    kernel = np.array([-1.0, 2.0, -1.0], np.float32)
    a, b = (cv2.sepFilter2D(p[1].astype(np.float32), cv2.CV_32F, kernel, kernel).ravel() for p in (output, truth))
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else 0.0


@dataclass(frozen=True)
class Lossy:
    """What the marks mean.

    Attributes:
        luma: the kind of 8-bit luma that the output shows, or ``None``.
        chroma: whether its chroma was halved.
        undecided: whether there are marks that the ground truth has too and that may come from there.
    """

    luma: str | None = None
    chroma: bool = False
    undecided: bool = False

    @property
    def found(self) -> bool:
        """Whether the output's own marks were seen."""
        return self.luma is not None or self.chroma


def judge(output: Marks, truth: Marks, detail: float) -> Lossy:
    """Return what marks of the output mean beside those of GT.

    Marks that GT has too say nothing where the output is made of GT's own pixels (copied key frames); where its finest
    detail is not GT's, they are its own.

    Args:
        output: marks of output frames.
        truth: marks of the GT frames that they show.
        detail: the largest :func:`same_detail` of these frames.
    """
    name = max(output.luma, key=lambda key: output.luma[key])
    whole = output.luma[name] >= WHOLE_LUMA
    halved = output.chroma >= HALVED_CHROMA
    own = detail < SAME_DETAIL
    own_luma = whole and (own or output.luma[name] - truth.luma[name] >= WHOLE_LUMA_OVER_TRUTH)
    own_chroma = halved and (own or output.chroma - max(truth.chroma, 0.0) >= HALVED_CHROMA)
    undecided = (whole or halved) and not (own_luma or own_chroma)
    return Lossy(name if own_luma else None, own_chroma, undecided)
