"""Small views of frames that shifts and lags are estimated from: green, reduced and band-passed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from stvsr_bench.video.clip import Clip

Plane = npt.NDArray[np.float32]

BLOCK = 8  # frames decoded at once
_BAND_PIXELS = 100  # shorter side of a band view, at least
_LARGEST_FACTOR = 8
_FINEST_DETAIL = 3.0  # standard deviation of the low pass, full-size pixels
SMALLEST_SIDE = 32
"""Frames with a shorter side are too small for estimates."""


@dataclass(frozen=True)
class Views:
    """What was kept of each frame that was read.

    Attributes:
        bands: green, reduced by ``factor`` and band-passed, ``(h, w)`` float32 for each frame, in levels of 0 … 255.
            The low pass (at least 3 pixels at full size) hides what restoration adds or loses; green is the channel
            that an exchange of red and blue leaves alone; brightness offsets are removed.
        factor: full-size pixels per pixel of a band view.
    """

    bands: list[Plane]
    factor: int

    def __len__(self) -> int:
        return len(self.bands)


def look(clip: Clip, indices: Sequence[int]) -> Views:
    """Read the frames at ``indices``, a few at a time, and return their small views."""
    factor = min(max(min(clip.height, clip.width) // _BAND_PIXELS, 1), _LARGEST_FACTOR)
    bands: list[Plane] = []
    for start in range(0, len(indices), BLOCK):
        for frame in clip.read(list(indices[start : start + BLOCK])).numpy():
            bands.append(_band(frame[1], factor))
    return Views(bands, factor)


def reduced(channel: npt.NDArray[np.uint8], factor: int) -> Plane:
    """Mean of ``factor`` × ``factor`` pixels; a rest at the right and lower edge is left out."""
    height, width = (side - side % factor for side in channel.shape)
    size = (width // factor, height // factor)
    whole = np.ascontiguousarray(channel[:height, :width], np.float32)
    return np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), np.float32)


def _band(channel: npt.NDArray[np.uint8], factor: int) -> Plane:
    sigma = max(_FINEST_DETAIL, factor) / factor
    low = cv2.GaussianBlur(reduced(channel, factor), (0, 0), sigma)
    return np.asarray(low - cv2.GaussianBlur(low, (0, 0), 8 * sigma), np.float32)
