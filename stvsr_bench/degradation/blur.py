"""The seven families of blur kernels of second-order degradation, and how they are applied."""

from __future__ import annotations

import math
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
import scipy.special

from stvsr_bench.core.errors import ConfigError, nearest
from stvsr_bench.degradation.frame import Array, check_frame

BlurKind = Literal["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso", "sinc"]

Kernel = npt.NDArray[np.float64]

BLUR_KINDS: dict[str, tuple[str, ...]] = {
    "iso": ("sigma_x",),
    "aniso": ("sigma_x", "sigma_y", "rotation"),
    "generalized_iso": ("sigma_x", "beta"),
    "generalized_aniso": ("sigma_x", "sigma_y", "rotation", "beta"),
    "plateau_iso": ("sigma_x", "beta"),
    "plateau_aniso": ("sigma_x", "sigma_y", "rotation", "beta"),
    "sinc": ("omega",),
}
"""Every family and the parameters that it reads; parameters of other families are ignored when given."""


def blur_kernel(
    kind: str,
    size: int,
    *,
    sigma_x: float | None = None,
    sigma_y: float | None = None,
    rotation: float | None = None,
    beta: float | None = None,
    omega: float | None = None,
    pad_to: int | None = None,
) -> Kernel:
    """Return one blur kernel.

    With offsets x (columns, to the right) and y (rows, downwards) from the central sample and
    q = (x, y) S⁻¹ (x, y)ᵀ, S = R diag(sigma_x², sigma_y²) Rᵀ, R = [[cos, -sin], [sin, cos]] of ``rotation``:

    * ``iso``, ``aniso``: exp(-q/2);
    * ``generalized_*``: exp(-q^beta/2);
    * ``plateau_*``: 1/(1 + q^beta);
    * ``sinc``: omega·J₁(omega·r)/(2πr), omega²/(4π) at the centre: the ideal circular low pass, cut off at ``omega``
      radians per sample;

    each divided by its sum. The ``iso`` families use ``sigma_x`` for both axes. Kernels are samples of the formula at
    integer offsets, not integrals over pixels, and are cut off square at ``size``.

    Shapes: float64 ``(size, size)``, or ``(pad_to, pad_to)``.

    Args:
        kind: a key of ``BLUR_KINDS``.
        size: odd side in samples.
        sigma_x: standard deviation along the first axis, in samples, > 0.
        sigma_y: standard deviation along the second axis, in samples, > 0.
        rotation: of the axes, in radians: a positive angle turns the first axis from the columns towards the rows
            (clockwise as frames are shown).
        beta: exponent of the generalized and plateau families, > 0.
        omega: cut-off of ``sinc`` in radians per sample, 0 < omega ≤ π.
        pad_to: surround the kernel with zeros to this odd side (Real-ESRGAN keeps all kernels at 21×21); the blur is
            the same.

    Raises:
        ConfigError: an unknown kind, an even or too small side, or a parameter that is absent or out of range.

    Source: Wang et al., Real-ESRGAN (ICCVW 2021), supplement; Chan et al., RealBasicVSR (CVPR 2022). No
    multiplicative kernel noise, as in the released configurations of both.

    Example:
        >>> kernel = blur_kernel("iso", 3, sigma_x=1.0)
        >>> float(round(kernel[1, 1] / kernel[0, 1], 6)), float(round(kernel.sum(), 12))
        (1.648721, 1.0)
    """
    if kind not in BLUR_KINDS:
        close = nearest(kind, BLUR_KINDS)
        raise ConfigError(
            f"unknown blur kernel '{kind}'",
            accepted=", ".join(BLUR_KINDS),
            action=f"did you mean '{close[0]}'?" if close else None,
        )
    _check_side(kind, size, pad_to)
    given = {"sigma_x": sigma_x, "sigma_y": sigma_y, "rotation": rotation, "beta": beta, "omega": omega}
    values = {name: _check_value(kind, name, given[name]) for name in BLUR_KINDS[kind]}

    offsets = np.arange(size, dtype=np.float64) - size // 2
    x, y = offsets[None, :], offsets[:, None]
    if kind == "sinc":
        kernel = _sinc(np.hypot(x, y), values["omega"])
    else:
        first = values["sigma_x"]
        angle = values.get("rotation", 0.0)
        cos, sin = math.cos(angle), math.sin(angle)
        q = ((cos * x + sin * y) / first) ** 2 + ((cos * y - sin * x) / values.get("sigma_y", first)) ** 2
        if kind.startswith("plateau"):
            kernel = 1 / (1 + q ** values["beta"])
        else:
            kernel = np.exp(-0.5 * q ** values.get("beta", 1.0))
    kernel /= kernel.sum()
    return kernel if pad_to is None else np.pad(kernel, (pad_to - size) // 2)


def _sinc(radius: Kernel, omega: float) -> Kernel:
    safe = np.where(radius == 0, 1.0, radius)
    ring = omega * scipy.special.j1(omega * safe) / (2 * np.pi * safe)
    return np.asarray(np.where(radius == 0, omega**2 / (4 * np.pi), ring), dtype=np.float64)


def _check_side(kind: str, size: int, pad_to: int | None) -> None:
    sides = [size] if pad_to is None else [size, pad_to]
    if any(side < 1 or side % 2 == 0 for side in sides) or sides[-1] < size:
        raise ConfigError(
            f"blur kernel '{kind}': side",
            got=f"size {size}" + ("" if pad_to is None else f", pad_to {pad_to}"),
            accepted="odd sides of at least 1, pad_to not below size (an even side has no central sample)",
        )


def _check_value(kind: str, name: str, value: float | None) -> float:
    if value is None:
        raise ConfigError(
            f"blur kernel '{kind}': {name} is missing", accepted=f"numbers for {', '.join(BLUR_KINDS[kind])}"
        )
    low, high = {"rotation": (-math.inf, math.inf), "omega": (0.0, math.pi * (1 + 1e-9))}.get(name, (0.0, math.inf))
    if not math.isfinite(value) or not (low < value <= high):
        accepted = "a finite number" if name == "rotation" else "above 0" + (", up to π" if name == "omega" else "")
        raise ConfigError(f"blur kernel '{kind}': {name}", got=str(value), accepted=accepted)
    return float(value)


def filter2d(frame: Array, kernel: Kernel) -> Array:
    """Correlate every channel with ``kernel``.

    Beyond the border the frame is mirrored without repeating its edge (``reflect_101``). The dtype stays: float32
    keeps overshoots (``sinc`` has negative lobes), uint8 is rounded and saturated by OpenCV.

    Shapes: ``(H, W, 3)``, kernel ``(h, w)`` → ``(H, W, 3)``.

    Args:
        frame: float32 or uint8 RGB, grey levels.
        kernel: odd sides; kernels of the families above are symmetric about their centre, so that correlation is
            convolution.

    Raises:
        DataError: not a frame.

    Source: ``cv2.filter2D`` with its default border, as the reference implementations call it; Real-ESRGAN's PyTorch
    filter has the same border and differs in the last bits of float32 only. Kernels above 11×11 go through a Fourier
    transform inside OpenCV: the results of two processors may differ in the last bit of float32.
    """
    check_frame(frame, "blur")
    return np.asarray(cv2.filter2D(frame, -1, kernel, borderType=cv2.BORDER_REFLECT_101))
