"""The few colour and number conversions that every result depends on, each written once."""

from __future__ import annotations

import torch

from stvsr_bench.core.errors import ClipError

Y_BT601 = (65.481, 128.553, 24.966)
"""Weights of R, G, B in [0, 1] for BT.601 luma in 16 … 235, before the offset of 16 (MATLAB's ``rgb2ycbcr``)."""

GRAY_BT601 = (0.299, 0.587, 0.114)
"""Weights of R, G, B for full-range gray (BT.601, as OpenCV's ``COLOR_RGB2GRAY`` before its rounding)."""


def to_float(frames: torch.Tensor) -> torch.Tensor:
    """Return uint8 samples as float32 in [0, 1] (divided by 255).

    >>> to_float(torch.tensor([0, 51, 255], dtype=torch.uint8))
    tensor([0.0000, 0.2000, 1.0000])

    Raises:
        ClipError: the samples are not uint8.
    """
    if frames.dtype != torch.uint8:
        raise ClipError("cannot convert frames to float", got=str(frames.dtype), accepted="uint8 samples")
    return frames.to(torch.float32) / 255.0


def to_uint8(frames: torch.Tensor) -> torch.Tensor:
    """Return float samples in [0, 1] as uint8: clamp, then floor(x·255 + 0.5). This is the only rounding of a result.

    >>> to_uint8(torch.tensor([-0.1, 0.5 / 255, 0.5, 1.2]))
    tensor([  0,   1, 128, 255], dtype=torch.uint8)

    Raises:
        ClipError: the samples are not floating point, or some are NaN or infinite.
    """
    if not frames.is_floating_point():
        raise ClipError(
            "cannot round frames to uint8", got=str(frames.dtype), accepted="floating-point samples in [0, 1]"
        )
    finite = torch.isfinite(frames)
    if not bool(finite.all()):
        raise ClipError(
            "cannot round frames to uint8",
            got=f"{int((~finite).sum())} of {frames.numel()} samples NaN or infinite, shape {tuple(frames.shape)}",
            accepted="finite samples in [0, 1]",
            action="look at what computed them (half precision overflows above 65504; try dtype=float32)",
        )
    if frames.dtype in (torch.float16, torch.bfloat16):
        frames = frames.float()
    return (frames.clamp(0.0, 1.0) * 255.0 + 0.5).floor().to(torch.uint8)


def rgb_to_y_bt601(frames: torch.Tensor) -> torch.Tensor:
    """Return BT.601 studio-range luma, unrounded: (65.481·R + 128.553·G + 24.966·B + 16) / 255.

    Shapes: RGB ``(T, 3, H, W)`` in [0, 1] → Y ``(T, 1, H, W)`` in [16/255, 235/255]; the dtype is kept.
    Source: MATLAB ``rgb2ycbcr`` on double input; unlike its uint8 form (and BasicSR's) nothing is rounded.

    >>> (rgb_to_y_bt601(torch.ones(1, 3, 1, 1, dtype=torch.float64)) * 255).item()
    235.0

    Raises:
        ClipError: the tensor is not float RGB ``(T, 3, H, W)``.
    """
    r, g, b = _channels(frames)
    return ((Y_BT601[0] * r + Y_BT601[1] * g + Y_BT601[2] * b + 16.0) / 255.0).unsqueeze(1)


def rgb_to_gray(frames: torch.Tensor) -> torch.Tensor:
    """Return full-range gray, unrounded: 0.299·R + 0.587·G + 0.114·B.

    Shapes: RGB ``(T, 3, H, W)`` in [0, 1] → gray ``(T, 1, H, W)`` in [0, 1]; the dtype is kept.

    Raises:
        ClipError: the tensor is not float RGB ``(T, 3, H, W)``.
    """
    r, g, b = _channels(frames)
    return (GRAY_BT601[0] * r + GRAY_BT601[1] * g + GRAY_BT601[2] * b).unsqueeze(1)


def _channels(frames: torch.Tensor) -> tuple[torch.Tensor, ...]:
    if frames.ndim != 4 or frames.shape[1] != 3 or not frames.is_floating_point():
        raise ClipError(
            "cannot convert colour",
            got=f"shape {tuple(frames.shape)}, {frames.dtype}",
            accepted="float RGB (T, 3, H, W) in [0, 1]",
        )
    return frames.unbind(1)
