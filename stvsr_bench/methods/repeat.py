"""Frame repetition: the LQ frame that is nearest in time."""

from __future__ import annotations

import torch

from stvsr_bench.methods.base import ANY_DTYPE, Method, Request
from stvsr_bench.video.clip import Frames


class Repeat(Method):
    """Every output frame is the LQ frame nearest in time; half way between two, the earlier one."""

    task = "vfi"
    tiling = "base"
    dtypes = ANY_DTYPE

    def restore_block(self, frames: Frames, request: Request) -> torch.Tensor:
        factor = request.time_scale
        time = torch.arange((len(frames) - 1) * factor + 1)
        # ceil(time / factor - 1/2) in whole numbers
        return frames[(2 * time + factor - 1) // (2 * factor)]
