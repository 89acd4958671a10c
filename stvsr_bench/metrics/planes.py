"""The colour planes that reference codes score on, each computed once for a batch."""

from __future__ import annotations

from typing import Literal

import torch

from stvsr_bench.metrics.batch import FrameBatch, OneSide

Space = Literal["rgb", "y", "yiq", "yiq_rounded", "ycbcr_rounded", "dove_y", "dove_y_rounded"]

_YIQ = (0.299, 0.587, 0.114)
_YCBCR = (65.481, 128.553, 24.966)
_DOVE = (0.257, 0.504, 0.098)


def plane(batch: FrameBatch, side: OneSide, space: Space) -> torch.Tensor:
    """The frames of one side in a colour space, on the scale 0 … 255.

    - ``rgb``: as given, uint8 ``(T, 3, H, W)``.
    - ``y``: Y of MATLAB BT.601 in 16 … 235, float64, not rounded (BasicSR, XVFI, TecoGAN).
    - ``yiq``: 0.299 R + 0.587 G + 0.114 B in 0 … 255, float64, not rounded (pyiqa's ``psnry``).
    - ``yiq_rounded``: the same, rounded as pyiqa's ``ssim`` does: x / 255, the product and · 255 in float32, halves to
      even. The product is summed by fused multiply-add from R to B: pixels whose Y is a tie of the rounding fall as
      they do where the matrix product of pyiqa is compiled so, on any machine.
    - ``ycbcr_rounded``: BT.601 Y, rounded in the same way (pyiqa with ``color_space="ycbcr"``).
    - ``dove_y``, ``dove_y_rounded``: 0.257 R + 0.504 G + 0.098 B + 0.0625 of DOVE's ``--test_y_channel``, float32, for
      PSNR as it is and for SSIM rounded.

    Returns:
        ``(T, 3, H, W)`` for ``rgb``, else ``(T, 1, H, W)``.
    """
    if space == "rgb":
        return batch.u8(side)
    if space == "y":
        return batch.y(side)

    def make() -> torch.Tensor:
        if space == "yiq":
            weights = torch.tensor(_YIQ, dtype=torch.float64, device=batch.device)
            return torch.einsum("tchw,c->thw", batch.u8(side).double(), weights)[:, None]
        if space == "yiq_rounded":
            return _product(batch.rgb(side), _YIQ).mul_(255).round_().double()
        if space == "ycbcr_rounded":
            return _product(batch.rgb(side), _YCBCR).add_(16).div_(255).mul_(255).round_().double()
        if space == "dove_y_rounded":
            return plane(batch, side, "dove_y").round()
        red, green, blue = batch.rgb(side).unbind(1)
        luma = _DOVE[0] * red + _DOVE[1] * green + _DOVE[2] * blue + 0.0625
        return luma.mul_(255).double()[:, None]

    return batch.feature(side, f"plane.{space}", make)


def _product(rgb: torch.Tensor, weights: tuple[float, ...]) -> torch.Tensor:
    """Weighted sum of the channels by float32 multiply-add, rounded once for each channel, ``(T, 1, H, W)``."""
    _, green, blue = torch.tensor(weights).double().tolist()  # the weights as float32 has them
    total = rgb[:, 0] * torch.tensor(weights[0], device=rgb.device)
    for channel, weight in ((1, green), (2, blue)):
        # a product of two float32 is exact in float64, so that only the sum is rounded
        total = rgb[:, channel].double().mul_(weight).add_(total).float()
    return total[:, None]


def crop_8x8(height: int, width: int) -> tuple[slice, slice]:
    """TecoGAN's centre crop of frames and flows, called so although it counts in 32s.

    >>> crop_8x8(480, 720)
    (slice(16, 464, None), slice(8, 712, None))

    Source: TecoGAN ``metrics.py``: the largest multiple of 32 that leaves at least 16 pixels over, centred.
    """

    def side(length: int) -> slice:
        size = max(0, (length - 16) // 32 * 32)
        start = (length - size) // 2
        return slice(start, start + size)

    return side(height), side(width)


CROP_8X8_MINIMUM = 48
"""Shortest side of a frame of which ``crop_8x8`` leaves something."""
