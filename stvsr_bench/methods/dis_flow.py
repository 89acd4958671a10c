"""Interpolation along DIS optical flow: both ways, checked against each other, aware of occlusion, at any time."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from stvsr_bench.methods.base import ANY_DTYPE, Method, Request, SizeRule
from stvsr_bench.nn.interpolate import FlowPair
from stvsr_bench.video.color import rgb_to_gray, to_uint8

_PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}


class DisFlow(Method):
    """OpenCV's DIS flow on gray frames, then :class:`~stvsr_bench.nn.interpolate.FlowPair`.

    It runs on the CPU whatever the device. Flow looks at the whole frame, so frames are not tiled.

    Source: Kroeger, Timofte, Dai and Van Gool, «Fast Optical Flow using Dense Inverse Search», ECCV 2016, as OpenCV
    implements it; ``preset`` is OpenCV's, by default ``medium``.
    """

    task = "vfi"
    presets = frozenset(_PRESETS)
    # DIS needs room for its 8-pixel patches at the coarsest level
    size_rule = SizeRule(multiple=1, minimum=32)
    dtypes = ANY_DTYPE

    def __init__(
        self,
        *,
        name: str,
        scale: int | None = None,
        time_scale: int | None = None,
        preset: str | None = None,
        allow_untrained: bool = False,
    ) -> None:
        super().__init__(name=name, scale=scale, time_scale=time_scale, preset=preset, allow_untrained=allow_untrained)
        if preset == "medium":  # the default by its name: the same method, so the same id
            self.preset = None

    def setup(self, device: torch.device | str = "cpu", dtype: str = "float32") -> None:
        super().setup("cpu", dtype)

    def restore_float(self, frames: Tensor, request: Request) -> Tensor:
        factor = request.time_scale
        out = frames.new_empty((len(frames) - 1) * factor + 1, *frames.shape[1:])
        out[::factor] = frames
        if factor == 1:
            return out
        gray = to_uint8(rgb_to_gray(frames))[:, 0].numpy()
        for i in range(len(frames) - 1):
            pair = FlowPair(
                frames[i : i + 1],
                frames[i + 1 : i + 2],
                self._flow(gray[i], gray[i + 1]),
                self._flow(gray[i + 1], gray[i]),
            )
            for step in range(1, factor):
                out[i * factor + step] = pair.at(step / factor)[0]
        return out

    def _flow(self, start: np.ndarray[Any, Any], end: np.ndarray[Any, Any]) -> Tensor:
        """Flow ``(1, 2, H, W)`` in pixels from ``start`` to ``end``, both gray uint8 ``(H, W)``."""
        try:
            # a fresh object each time: it keeps nothing from one pair to the next
            flow = cv2.DISOpticalFlow.create(_PRESETS[self.preset or "medium"]).calc(start, end, None)
        except cv2.error as error:
            if error.code == cv2.Error.StsNoMem:
                raise MemoryError(str(error)) from error
            raise
        return torch.from_numpy(flow).permute(2, 0, 1)[None].contiguous()
