"""The four classical upscalers: every frame by itself, MATLAB's ``imresize``, any whole factor."""

from __future__ import annotations

from typing import ClassVar

import torch

from stvsr_bench.degradation.imresize import imresize
from stvsr_bench.methods.base import ANY_DTYPE, Method, Request
from stvsr_bench.video.clip import Frames


class _Resize(Method):
    """``imresize`` of every frame, rounded to 8 bits after each of its two passes as MATLAB does."""

    task = "vsr"
    tiling = "base"
    dtypes = ANY_DTYPE
    kernel: ClassVar[str]

    def restore_block(self, frames: Frames, request: Request) -> torch.Tensor:
        return imresize(frames.to(self.device), request.scale, kernel=self.kernel, rounding="matlab_uint8")


class Nearest(_Resize):
    """Repeats every pixel ``scale`` × ``scale`` times."""

    kernel = "nearest"
    tile_overlap = 1


class Bilinear(_Resize):
    """Triangle kernel, support 1 LQ pixel."""

    kernel = "bilinear"
    tile_overlap = 1


class Bicubic(_Resize):
    """Keys' kernel with a = -0.5, support 2 LQ pixels: what papers call «bicubic»."""

    kernel = "bicubic"
    tile_overlap = 2


class Lanczos(_Resize):
    """Lanczos-3 kernel, support 3 LQ pixels."""

    kernel = "lanczos3"
    tile_overlap = 3
