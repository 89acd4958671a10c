"""Gaussian and Poisson noise of second-order degradation, from fields that are given."""

from __future__ import annotations

import math
from typing import Any, Literal, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from stvsr_bench.core.errors import ConfigError
from stvsr_bench.degradation.frame import Array, Float, as_float, check_frame

PoissonDomain = Literal["unit", "byte"]

POISSON_DOMAINS = ("unit", "byte")


class FieldStream(Protocol):
    """Where noise fields come from: one stream per clip, step and frame, so that nothing depends on order."""

    def normal(self, shape: tuple[int, ...], /) -> npt.NDArray[np.float32]:
        """Return independent standard normal values, float32 of ``shape``."""

    def poisson(self, mean: npt.NDArray[np.float64], /) -> npt.NDArray[Any]:
        """Return independent Poisson counts with means ``mean``, of its shape."""


def gaussian(frame: Array, sigma: float, gray: bool, stream: FieldStream) -> Float:
    """Add Gaussian noise; nothing is clipped.

    Shapes: ``(H, W, 3)`` → float32 ``(H, W, 3)``. Consumes one field of the stream: ``(H, W, 1)`` when ``gray``,
    ``(H, W, 3)`` otherwise.

    Args:
        frame: float32 or uint8 RGB, grey levels.
        sigma: standard deviation in grey levels of 0..255, ≥ 0. Codes that work on [0, 1] divide it by 255, which is
            the same noise.
        gray: the same value for R, G and B of a pixel. The reference code draws three channels and repeats the first;
            here only one is drawn, which has the same distribution.
        stream: noise fields.

    Raises:
        ConfigError: a negative or infinite sigma.
        DataError: not a frame.
    """
    check_frame(frame, "gaussian noise")
    _check_level("gaussian noise: sigma", sigma)
    field = stream.normal((frame.shape[0], frame.shape[1], 1 if gray else 3))
    return as_float(frame) + field * np.float32(sigma)


def poisson(frame: Array, scale: float, gray: bool, domain: str, stream: FieldStream) -> Float:
    """Add Poisson noise that depends on the frame's content; nothing is clipped.

    The frame (its luma when ``gray``), rounded and clipped to 0..255, is the base b; n is the number of its different
    values and v = 2^⌈log₂ n⌉. In the ``byte`` domain the noise is P(b·v)/v - b, variance b/v; in the ``unit`` domain
    255·(P(b/255·v)/v - b/255), variance 255·b/v: √255 ≈ 16 times stronger at the same ``scale``. Both circulate under
    the same parameter table; recipes name theirs. The result is frame + scale·noise, with the frame itself, not its
    rounded base.

    Shapes: ``(H, W, 3)`` → float32 ``(H, W, 3)``. Consumes one field of the stream: ``(H, W, 1)`` when ``gray``,
    ``(H, W, 3)`` otherwise.

    Args:
        frame: float32 or uint8 RGB, grey levels.
        scale: factor of the noise, ≥ 0.
        gray: one noise value for R, G and B, made from the luma 0.299 R + 0.587 G + 0.114 B (``cv2.COLOR_RGB2GRAY``
            on float32, R taken as R).
        domain: ``unit`` (the code RealBasicVSR was trained with; Real-ESRGAN) or ``byte`` (later ports, DOVE).
        stream: noise fields.

    Raises:
        ConfigError: an unknown domain, or a negative or infinite scale.
        DataError: not a frame.
    """
    check_frame(frame, "poisson noise")
    _check_level("poisson noise: scale", scale)
    if domain not in POISSON_DOMAINS:
        raise ConfigError("poisson noise: domain", got=f"'{domain}'", accepted=", ".join(POISSON_DOMAINS))
    clean = as_float(frame)
    source = cv2.cvtColor(clean, cv2.COLOR_RGB2GRAY)[:, :, None] if gray else clean
    base = np.clip(np.rint(source), 0, 255).astype(np.uint8)
    different = int(np.count_nonzero(np.bincount(base.ravel(), minlength=256)))
    levels = 2.0 ** math.ceil(math.log2(different))
    unit = 255.0 if domain == "unit" else 1.0
    mean = base / unit
    noise = stream.poisson(mean * levels) / levels - mean
    return clean + (noise * (scale * unit)).astype(np.float32)


def _check_level(what: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise ConfigError(what, got=str(value), accepted="a finite number of at least 0")
