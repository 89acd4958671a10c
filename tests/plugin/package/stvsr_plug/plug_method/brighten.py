"""The method of this plug-in."""

import torch

from stvsr_bench.methods.base import Method, Request


class Brighten(Method):
    """Repeats every pixel and adds a constant."""

    task = "vsr"

    def __init__(
        self,
        *,
        name: str,
        scale: int | None = None,
        time_scale: int | None = None,
        preset: str | None = None,
        allow_untrained: bool = False,
        levels: int = 8,
    ) -> None:
        super().__init__(name=name, scale=scale, time_scale=time_scale, preset=preset, allow_untrained=allow_untrained)
        self.levels = levels

    def restore_float(self, frames: torch.Tensor, request: Request) -> torch.Tensor:
        large = frames.repeat_interleave(request.scale, 2).repeat_interleave(request.scale, 3)
        return large + self.levels / 255
