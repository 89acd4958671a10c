"""Unsharp masking of ground truth, which some training pipelines do before they degrade."""

from __future__ import annotations

import math

import cv2
import numpy as np

from stvsr_bench.core.errors import ConfigError
from stvsr_bench.degradation.frame import Array, Float, as_float, check_frame


def unsharp_mask(frame: Array, radius: int = 50, weight: float = 0.5, threshold: float = 10) -> Float:
    """Sharpen one frame where it differs from its blurred copy by more than ``threshold``.

    With the Gaussian blur G: residue = I - G·I; mask = |residue| > threshold, per channel; soft = G·mask;
    sharp = clip(I + weight·residue, 0, 255); result = soft·sharp + (1 - soft)·I.

    G has the odd side ``radius`` or ``radius`` + 1 (51 by default), the standard deviation that OpenCV derives from it
    (0.3·((side - 1)/2 - 1) + 0.8 = 8.0) and the border ``reflect_101``. It is applied in two passes, which the
    reference codes do too or which differs from their single pass in the last bits of float32 only.

    Shapes: ``(H, W, 3)`` → float32 ``(H, W, 3)``, not rounded.

    Args:
        frame: float32 or uint8 RGB, grey levels 0..255.
        radius: side of the kernel; an even one is raised by 1.
        weight: how much of the residue is added, ≥ 0.
        threshold: in grey levels, ≥ 0.

    Raises:
        ConfigError: a parameter out of range.
        DataError: not a frame.

    Source: Real-ESRGAN (``radius`` 50) and RealBasicVSR (kernel 51), which are the same.
    """
    check_frame(frame, "unsharp mask")
    if radius < 1 or not all(math.isfinite(value) and value >= 0 for value in (weight, threshold)):
        raise ConfigError(
            "unsharp mask: parameters",
            got=f"radius {radius}, weight {weight}, threshold {threshold}",
            accepted="radius of at least 1, finite weight and threshold of at least 0",
        )
    side = radius + 1 - radius % 2
    # stated rather than left to OpenCV, which has fixed tables instead for sides up to 9
    taps = cv2.getGaussianKernel(side, 0.3 * ((side - 1) * 0.5 - 1) + 0.8)
    image = as_float(frame)
    residue = image - _blur(image, taps)
    soft = _blur((np.abs(residue) > threshold).astype(np.float32), taps)
    sharp = np.clip(image + np.float32(weight) * residue, 0, 255)
    return np.asarray(image + soft * (sharp - image), dtype=np.float32)


def _blur(image: Float, taps: Array) -> Float:
    return np.asarray(cv2.sepFilter2D(image, -1, taps, taps, borderType=cv2.BORDER_REFLECT_101))
