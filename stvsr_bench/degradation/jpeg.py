"""JPEG compression of one frame: OpenCV's encoder, and the real-valued imitation that Real-ESRGAN uses."""

from __future__ import annotations

import math
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import scipy.fft

from stvsr_bench.core.errors import ConfigError, DataError
from stvsr_bench.degradation.frame import Array, Float, as_float, check_frame

Rounding = Literal["round", "truncate"]
Channels = Literal["rgb_as_bgr", "rgb"]

ROUNDINGS = ("round", "truncate")
CHANNELS = ("rgb_as_bgr", "rgb")

# ISO/IEC 10918-1, tables K.1 and K.2; rows are vertical frequencies.
_LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=np.float64,
)
_CHROMA = np.full((8, 8), 99.0)
_CHROMA[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]

# JFIF (BT.601, full range); chroma is centred on 128.
_TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
_TO_RGB = np.array([[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]])


def to_bytes(frame: Array, rounding: str) -> npt.NDArray[np.uint8]:
    """Clip to 0..255, then ``round`` (half to even, as OpenCV) or ``truncate`` (as ``astype(uint8)``)."""
    if rounding not in ROUNDINGS:
        raise ConfigError("conversion to 8 bits: rounding", got=f"'{rounding}'", accepted=", ".join(ROUNDINGS))
    if frame.dtype == np.uint8:
        return frame
    clipped = np.clip(frame, 0, 255)
    return (np.rint(clipped) if rounding == "round" else clipped).astype(np.uint8)


def jpeg(frame: Array, quality: int, rounding: str = "round", channels: str = "rgb_as_bgr") -> Float:
    """Encode and decode one frame with OpenCV's JPEG codec, chroma 4:2:0.

    Shapes: ``(H, W, 3)`` → float32 ``(H, W, 3)`` with integers 0..255.

    Args:
        frame: float32 or uint8 RGB, grey levels; clipped first.
        quality: 1..100.
        rounding: how float32 becomes 8 bits: ``round`` is what OpenCV does to a float frame, ``truncate`` is DOVE's
            and up to one level darker.
        channels: ``rgb_as_bgr`` hands the RGB frame to OpenCV as if it were BGR, as the released pipelines do: red
            and blue change places in the conversion to luma and chroma, blue gets red's luma weight, and the colours
            come back in their places. ``rgb`` converts properly.

    Raises:
        ConfigError: an option that is not among these.
        DataError: not a frame, or OpenCV cannot encode it.
    """
    check_frame(frame, "JPEG")
    if isinstance(quality, bool) or not isinstance(quality, int | np.integer) or not 1 <= quality <= 100:
        raise ConfigError("JPEG: quality", got=repr(quality), accepted="an integer from 1 to 100")
    if channels not in CHANNELS:
        raise ConfigError("JPEG: channels", got=f"'{channels}'", accepted=", ".join(CHANNELS))
    pixels = to_bytes(frame, rounding)
    step = 1 if channels == "rgb_as_bgr" else -1
    options = (
        cv2.IMWRITE_JPEG_QUALITY,
        int(quality),
        # OpenCV's default, stated so that another build cannot have another one
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    )
    try:
        done, data = cv2.imencode(".jpg", np.ascontiguousarray(pixels[:, :, ::step]), options)
        back = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) if done else None
    except cv2.error as error:
        raise DataError("JPEG: OpenCV failed", got=f"frame of {frame.shape[1]}×{frame.shape[0]}: {error}") from error
    if back is None:
        raise DataError("JPEG: OpenCV failed", got=f"frame of {frame.shape[1]}×{frame.shape[0]}")
    return np.ascontiguousarray(back[:, :, ::step]).astype(np.float32)


def diff_jpeg(frame: Array, quality: float) -> Float:
    """Quantise one frame as JPEG would, without its integer steps: real-valued quality, tables and colours.

    Colours to JFIF luma and chroma, chroma averaged over 2×2, 8×8 cosine transform, division by the standard tables
    times 50/quality below 50 and 2 - quality/50 from 50 on (neither rounded nor kept above 1), rounding of the
    coefficients (half to even), and back, chroma repeated 2×2. The result is clipped to 0..255 and not rounded.

    Shapes: ``(H, W, 3)`` → float32 ``(H, W, 3)``. Sides are filled up with black to a multiple of 16 on the right and
    below, and cut back afterwards.

    Args:
        frame: float32 or uint8 RGB, grey levels; clipped to 0..255 first (Real-ESRGAN clips before this step).
        quality: above 0, below 100.

    Raises:
        ConfigError: a quality out of range (100 would divide by zero).
        DataError: not a frame.

    Source: Shin and Song, JPEG-resistant adversarial images (2017 workshop), as used by Real-ESRGAN and STAR. Decided
    here, where descriptions are silent: black fill, tables in the standard's orientation (rows are vertical
    frequencies), float64 inside, so that a coefficient practically never lies on the edge between two roundings on one
    machine and beyond it on another.
    """
    check_frame(frame, "differentiable JPEG")
    if not (math.isfinite(quality) and 0 < quality < 100):
        raise ConfigError("differentiable JPEG: quality", got=str(quality), accepted="above 0 and below 100")
    factor = 50 / quality if quality < 50 else 2 - quality / 50
    height, width = frame.shape[:2]
    padded = np.pad(np.clip(as_float(frame), 0, 255), ((0, -height % 16), (0, -width % 16), (0, 0)))
    ycc = np.tensordot(_TO_YCC, padded.astype(np.float64), axes=([1], [2]))
    rows, columns = padded.shape[:2]
    small = ycc[1:].reshape(2, rows // 2, 2, columns // 2, 2).mean(axis=(2, 4))
    # the offset of chroma (128) and the centring before the transform (-128) cancel
    luma = _quantise(ycc[:1] - 128, _LUMA * factor) + 128
    chroma = _quantise(small, _CHROMA * factor).repeat(2, axis=1).repeat(2, axis=2)
    rgb = np.tensordot(_TO_RGB, np.concatenate([luma, chroma]), axes=1)[:, :height, :width]
    return np.ascontiguousarray(np.clip(rgb, 0, 255).transpose(1, 2, 0), dtype=np.float32)


def _quantise(planes: npt.NDArray[np.float64], table: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Round the cosine coefficients of every 8×8 block of ``(C, H, W)`` to multiples of ``table``."""
    count, rows, columns = planes.shape
    blocks = planes.reshape(count, rows // 8, 8, columns // 8, 8)
    steps = table[:, None, :]
    axes: Any = (2, 4)
    # orthonormal: exactly JPEG's transform
    coefficients = np.rint(scipy.fft.dctn(blocks, axes=axes, norm="ortho") / steps) * steps
    return np.asarray(scipy.fft.idctn(coefficients, axes=axes, norm="ortho"), dtype=np.float64).reshape(planes.shape)
