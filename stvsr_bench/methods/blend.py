"""Linear blending: the cross-fade of the two LQ frames around."""

from __future__ import annotations

import torch

from stvsr_bench.methods.base import ANY_DTYPE, Method, Request
from stvsr_bench.video.clip import Frames


class Blend(Method):
    """``(1 - t)·a + t·b`` between LQ frames ``a`` and ``b``, computed in whole numbers and rounded once, halves up."""

    task = "vfi"
    tiling = "base"
    dtypes = ANY_DTYPE

    def restore_block(self, frames: Frames, request: Request) -> torch.Tensor:
        factor = request.time_scale
        frames = frames.to(self.device)
        out = frames.new_empty((len(frames) - 1) * factor + 1, *frames.shape[1:])
        out[::factor] = frames
        before, after = frames[:-1].to(torch.int32), frames[1:].to(torch.int32)
        for step in range(1, factor):
            mixed = (factor - step) * before + step * after
            out[step::factor] = torch.div(2 * mixed + factor, 2 * factor, rounding_mode="floor").to(torch.uint8)
        return out
