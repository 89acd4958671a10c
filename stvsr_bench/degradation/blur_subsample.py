"""Gaussian blur of σ = 1.6 and every fourth pixel (BD), with the pixel phase as a named form.

Files called «BD ×4» differ in where their samples lie, by up to two pixels of the ground truth, and nothing in them
says so: a method trained on one form gets a shifted picture from another. ``Form.position`` is what registering LQ
against GT must find.

TecoGAN's form (σ = 1.5, no padding: samples keep a margin from the border) is not offered. The width of that margin,
and with it the size and phase of LQ, is stated nowhere that we know of; a guess would be another phase under its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from stvsr_bench.core.errors import ConfigError, DataError, nearest
from stvsr_bench.degradation.banded import TIE, banded, rows_first, to_bytes

Array = np.ndarray[Any, np.dtype[Any]]

SIGMA = 1.6
"""Standard deviation of the blur, in GT pixels."""

STRIDE = 4
"""Every how many GT pixels there is an LQ pixel."""


@dataclass(frozen=True)
class Form:
    """One convention of BD.

    Attributes:
        taps: weights in each dimension; their grid lies symmetrically about the middle, at half pixels if even.
        first: GT pixel under the first weight of LQ pixel 0.
        border: pixels outside: ``replicate`` repeats the edge pixel, ``reflect_101`` mirrors about it.
    """

    taps: int
    first: int
    border: Literal["replicate", "reflect_101"]

    @property
    def position(self) -> float:
        """Where LQ pixel 0 lies in GT pixels, in both dimensions; with bicubic ×1/4 it lies at 1.5."""
        return self.first + (self.taps - 1) / 2


FORMS = {
    "centred": Form(12, -4, "replicate"),
    "offset0": Form(13, -6, "reflect_101"),
    "offset2": Form(13, -4, "reflect_101"),
}
"""The forms of BD.

``centred`` is that of BasicVSR (mmagic's ``bd_downsample``: 12×12 weights, anchor 5, every fourth pixel from pixel 1);
``offset0`` that of DUF and PFNL (13×13 weights, every fourth pixel from pixel 0); ``offset2`` the same from pixel 2.
"""


def gaussian(taps: int) -> Array:
    """Weights of the blur in one dimension: float64 ``(taps,)``, sum 1, symmetric.

    >>> gaussian(3).round(4).tolist()
    [0.311, 0.378, 0.311]
    """
    x = np.arange(taps) - (taps - 1) / 2
    weights = np.exp(x**2 / (-2 * SIGMA**2))
    return np.asarray(weights / weights.sum())


def weight_matrix(length: int, form: Form) -> Array:
    """Weights that reduce one dimension, float64 ``(length // 4, length)``, rows summing to 1.

    Weights of pixels outside are folded onto the pixels inside whose values they take.
    """
    out_length = length // STRIDE
    taps = np.arange(out_length)[:, None] * STRIDE + form.first + np.arange(form.taps)
    if form.border == "replicate":
        inside = taps.clip(0, length - 1)
    else:
        last = length - 1
        inside = last - np.abs(taps % (2 * last) - last)
    matrix = np.zeros((out_length, length))
    np.add.at(matrix, (np.arange(out_length)[:, None], inside), gaussian(form.taps))
    return matrix


def blur_subsample(frames: torch.Tensor, form: str = "centred") -> torch.Tensor:
    """Blur 8-bit frames and keep every fourth pixel.

    Computed in float64, clipped and rounded once, halves up: floor(x + 0.5). The result does not depend on the batch
    size, the number of threads or the device.

    Shapes: uint8 ``(T, C, H, W)`` → uint8 ``(T, C, H / 4, W / 4)``, on the device of ``frames``.

    Args:
        frames: 8-bit frames, both sides multiples of 4.
        form: a key of ``FORMS``.

    Raises:
        ConfigError: there is no such form.
        DataError: the tensor is not uint8 ``(T, C, H, W)``, is empty, or a side is no multiple of 4.

    Source: BD of BasicVSR (mmagic), DUF and PFNL, as ``FORMS`` says. The blur is separable here and one sum there, and
    sums are float64, not float32: samples whose exact value is a tie may differ by one level.

    >>> blur_subsample(torch.arange(0, 160, 10, dtype=torch.uint8).repeat(16, 1)[None, None])[0, 0, 0].tolist()
    [16, 55, 95, 134]
    """
    if form not in FORMS:
        close = nearest(form, FORMS)
        raise ConfigError(
            f"unknown form of BD '{form}'",
            accepted=", ".join(FORMS),
            action=f"did you mean '{close[0]}'?" if close else None,
        )
    shape = tuple(frames.shape)
    if frames.dtype != torch.uint8 or frames.ndim != 4 or 0 in shape[1:] or any(side % STRIDE for side in shape[2:]):
        raise DataError(
            "blur_subsample cannot reduce this tensor",
            got=f"shape {shape}, {frames.dtype}",
            accepted=f"uint8 (T, C, H, W) with sides that are multiples of {STRIDE}",
        )
    height, width = shape[2:]
    rows = banded(weight_matrix, (height, FORMS[form]), True, torch.float64, frames.device)
    columns = banded(weight_matrix, (width, FORMS[form]), False, torch.float64, frames.device)
    out = frames.new_empty((*shape[:2], height // STRIDE, width // STRIDE))
    for frame, target in zip(frames, out, strict=True):
        work = columns.apply(rows.apply(rows_first(frame, torch.float64)))
        target.copy_(to_bytes(work.add_(0.5 + TIE).clamp_(0, 255.5)))
    return out
