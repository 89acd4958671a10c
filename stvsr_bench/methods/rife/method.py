"""RIFE as a method: variants, identity, padding, and which frames run together."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from stvsr_bench.core.errors import ConfigError
from stvsr_bench.methods.base import Request
from stvsr_bench.methods.learned import LearnedMethod
from stvsr_bench.methods.rife.network import Rife4
from stvsr_bench.nn.padding import padded_length
from stvsr_bench.nn.seeded import seed_parameters
from stvsr_bench.weights import service
from stvsr_bench.weights.strict import load_strict

VARIANTS = ("4.0",)
FLOW_SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
BATCH_PIXELS = 4_000_000
"""Padded pixels in a batch, the wanted frames of one pair, on an accelerator. On a CPU each frame runs alone."""

_TINY_WIDTHS = (16, 12, 8, 8)
_TINY_REFINE_WIDTH = 2


class Rife(LearnedMethod[Rife4]):
    """Interpolation at any time by RIFE 4.0, one call per wanted frame on the two LQ frames around it.

    LQ frames pass through untouched. Frames are padded with zeros at the right and bottom to a multiple of
    ``max(128, 128 / flow_scale)``, as upstream does: another multiple gives other pixels. Flow looks at the whole
    frame, so frames are not tiled.

    Source: Huang, Zhang, Heng, Shi and Zhou, «Real-Time Intermediate Flow Estimation for Video Frame Interpolation»,
    ECCV 2022; model 4.0 is an engineering release of Practical-RIFE without a paper of its own. Two differences from
    what its wrapper does: the refinement, whose trained weights the file holds, is on; and the doubling of scales under
    fast motion is decided for each frame instead of for a whole batch.

    Args:
        variant: ``4.0``.
        refine: add the refinement.
        ensemble: call each flow block in both directions of time and take the mean.
        flow_scale: what upstream calls ``scale``: 0.5 estimates motion at half the resolution (meant for 4K), 2 at
            double; ``method.scale`` is φs, which interpolation leaves at 1.
    """

    task = "vfi"
    presets = frozenset({"tiny"})
    dtypes = frozenset({"float32", "float16", "bfloat16"})
    chunking = "base"
    tiling = "none"

    def __init__(
        self,
        *,
        name: str,
        variant: str = "4.0",
        refine: bool = True,
        ensemble: bool = False,
        flow_scale: float = 1.0,
        scale: int | None = None,
        time_scale: int | None = None,
        preset: str | None = None,
        allow_untrained: bool = False,
    ) -> None:
        super().__init__(name=name, scale=scale, time_scale=time_scale, preset=preset, allow_untrained=allow_untrained)
        self.variant = str(variant)  # the command line reads 4.0 as a number
        if self.variant not in VARIANTS:
            raise ConfigError(
                f"method '{name}' has no variant '{variant}'", got=repr(variant), accepted=", ".join(VARIANTS)
            )
        for knob, value in (("refine", refine), ("ensemble", ensemble)):
            if not isinstance(value, bool):
                raise ConfigError(f"method '{name}': {knob} is a switch", got=repr(value), accepted="true or false")
        if isinstance(flow_scale, bool) or flow_scale not in FLOW_SCALES:
            raise ConfigError(
                f"method '{name}': flow_scale is not one that the network knows",
                got=repr(flow_scale),
                accepted=", ".join(f"{value:g}" for value in FLOW_SCALES),
            )
        self.refine = refine
        self.ensemble = ensemble
        self.flow_scale = float(flow_scale)

    # ------------------------------------------------------------------ identity

    @property
    def method_id(self) -> str:
        """The variant and what moves its pixels, ``rife[4.0+refine]``; the bare name is that of the paper's network."""
        parts = [self.variant]
        parts += ["refine"] * self.refine + ["ensemble"] * self.ensemble
        if self.flow_scale != 1:
            parts.append(f"scale{self.flow_scale:g}")
        preset = f",preset={self.preset}" if self.preset is not None else ""
        return f"{self.name}[{'+'.join(parts)}{preset}]"

    @property
    def weight(self) -> str:
        """The id of the parameters."""
        return f"rife/{self.variant}"

    # ------------------------------------------------------------------ life cycle

    def setup(self, device: torch.device | str = "cpu", dtype: str = "float32") -> None:
        """Load the parameters and move the network to ``device``; warping stays in float32 whatever the dtype."""
        super().setup(device, dtype)
        sizes = (_TINY_WIDTHS, _TINY_REFINE_WIDTH) if self.preset == "tiny" else ()
        network = Rife4(*sizes, optimised=self.optimised)
        if self.untrained:
            seed_parameters(network, "rife", self.variant)
        else:
            load_strict(network, service.load_weight(self.weight))
        self.install(network)

    # ------------------------------------------------------------------ restoration

    @torch.inference_mode()
    def restore_float(self, frames: Tensor, request: Request) -> Tensor:
        """LQ frames as they are, and between each two of them ``φt - 1`` frames of the network."""
        network = self.network
        factor = request.time_scale
        height, width = frames.shape[-2:]
        out = frames.new_empty((len(frames) - 1) * factor + 1, *frames.shape[1:])
        out[::factor] = frames
        if factor == 1:
            return out
        multiple = max(128, int(128 / self.flow_scale))
        tall, wide = padded_length(height, multiple), padded_length(width, multiple)
        padded = F.pad(frames, (0, wide - width, 0, tall - height))
        known: list[Tensor] | None = None  # context of the pair's first frame, which was the second of the pair before
        for index in range(len(frames) - 1):
            pair = torch.cat([padded[index : index + 1], padded[index + 1 : index + 2]], 1)
            context = None
            if self.refine and self.optimised:
                late = network.contextnet(pair[:, 3:])
                context = (known or network.contextnet(pair[:, :3]), late)
                known = late
            for steps in self._batches(factor, tall * wide):
                found = network(
                    pair.expand(len(steps), -1, -1, -1).contiguous(),
                    torch.tensor([step / factor for step in steps], device=frames.device),
                    flow_scale=self.flow_scale,
                    ensemble=self.ensemble,
                    refine=self.refine,
                    context=context,
                )
                at = index * factor
                out[at + steps.start : at + steps.stop] = found.output[..., :height, :width]
        return out

    def _batches(self, factor: int, pixels: int) -> Iterator[range]:
        """The steps between two LQ frames, in batches that depend on the sizes only, never on the rest of the clip."""
        together = max(1, BATCH_PIXELS // pixels) if self.optimised and self.device.type != "cpu" else 1
        for start in range(1, factor, together):
            yield range(start, min(start + together, factor))
