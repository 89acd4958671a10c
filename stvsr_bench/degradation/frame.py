"""What every operation on one frame takes: RGB rows and columns, float32 or uint8, in grey levels 0 to 255."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stvsr_bench.core.errors import DataError

Array = npt.NDArray[Any]

Float = npt.NDArray[np.float32]
"""float32 RGB ``(H, W, 3)``, grey levels 0..255 that may overshoot between two operations."""

Bytes = npt.NDArray[np.uint8]
"""uint8 RGB ``(H, W, 3)``."""


def check_frame(frame: Array, operation: str, *, bytes_only: bool = False) -> None:
    """Raise where ``frame`` is not one RGB frame.

    Args:
        frame: ``(H, W, 3)``, float32 or uint8.
        operation: named in the message.
        bytes_only: accept uint8 only.

    Raises:
        DataError: another shape, an empty side or another dtype (float64 and float16 included: an operation that
            silently widened or narrowed would give other pixels than its recipe promises).
    """
    accepted: tuple[type, ...] = (np.uint8,) if bytes_only else (np.float32, np.uint8)
    if frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape or frame.dtype.type not in accepted:
        raise DataError(
            f"{operation}: not a frame",
            got=f"shape {tuple(frame.shape)}, {frame.dtype}",
            accepted=f"RGB (H, W, 3), {' or '.join(kind.__name__ for kind in accepted)}, grey levels 0..255",
        )


def as_float(frame: Array) -> Float:
    """Return ``frame`` as float32 in the same grey levels; a float32 frame is returned as it is, not copied."""
    return frame.astype(np.float32, copy=False)
