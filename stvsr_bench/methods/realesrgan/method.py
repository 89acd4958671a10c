"""Real-ESRGAN as a method: every frame by itself, four times larger."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from stvsr_bench.core.errors import ConfigError, WeightError, nearest
from stvsr_bench.core.paths import user_path
from stvsr_bench.core.weight_card import WeightSpec
from stvsr_bench.methods.base import Report, Request
from stvsr_bench.methods.learned import LearnedMethod
from stvsr_bench.methods.realesrgan.networks import VARIANTS, RealEsrganNet, network_of, tiny_network
from stvsr_bench.methods.realesrgan.picture import enlarge
from stvsr_bench.nn.precision import use_exact_float32
from stvsr_bench.nn.seeded import seed_parameters
from stvsr_bench.video.clip import Clip, Frames
from stvsr_bench.weights import service
from stvsr_bench.weights.identity import tensor_hash
from stvsr_bench.weights.readers import RawFile, read_raw
from stvsr_bench.weights.shaping import shape_weight
from stvsr_bench.weights.strict import load_strict

CHECKPOINT = "checkpoint"


def read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """Return the state dict of a ``.pth`` of the official layout: ``params_ema`` where it is there, else ``params``.

    Raises:
        WeightError: there is no such file, or it holds something else than named tensors.
    """
    if not path.is_file():
        raise WeightError("the checkpoint does not exist", got=f"'{path}'", action="correct method.checkpoint_file")
    spec = WeightSpec(name=CHECKPOINT, licence=None, reader="torch", entry=("params_ema", "params"))
    return shape_weight(spec, read_raw("torch", [RawFile(path.name, path)]))


class RealEsrgan(LearnedMethod[RealEsrganNet]):
    """Runs an image network of Real-ESRGAN on one frame after the other; nothing passes between frames.

    Frames run whole unless ``tile`` is set. Tiles change the pixels, so they are part of the id, and running out of
    memory never turns them on.

    Args:
        variant: one of ``networks.VARIANTS``, or ``checkpoint`` for ``checkpoint_file``.
        checkpoint_file: a ``.pth`` of the official layout (``params_ema`` or ``params``), with ``variant=checkpoint``;
            its tensors say which network it is.
        tile: side of tiles in LQ pixels; 0 for none.
        tile_pad: LQ pixels around a tile that the network sees too; without tiles it has no effect.
        pre_pad: LQ pixels mirrored at the right and bottom before the network; the official class uses 10, its scripts
            (and the papers' numbers) 0.
    """

    task = "vsr"
    tiling = "own"
    presets = frozenset({"tiny"})
    dtypes = frozenset({"float32", "float16"})
    memory_option = "method.tile"

    def __init__(
        self,
        *,
        name: str,
        variant: str = "x4plus_ncnn_fp16",
        checkpoint_file: str | os.PathLike[str] | None = None,
        tile: int = 0,
        tile_pad: int = 10,
        pre_pad: int = 0,
        scale: int | None = None,
        time_scale: int | None = None,
        preset: str | None = None,
        allow_untrained: bool = False,
    ) -> None:
        super().__init__(name=name, scale=scale, time_scale=time_scale, preset=preset, allow_untrained=allow_untrained)
        self.variant = variant
        self.checkpoint_file = None if checkpoint_file is None else user_path(checkpoint_file)
        self.tile, self.tile_pad, self.pre_pad = tile, tile_pad, pre_pad
        for knob in ("tile", "tile_pad", "pre_pad"):
            value = getattr(self, knob)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ConfigError(
                    f"method '{name}': {knob} is no number of pixels", got=repr(value), accepted="a whole number from 0"
                )
        if variant not in (*VARIANTS, CHECKPOINT):
            raise ConfigError(
                f"method '{name}' has no variant '{variant}'",
                accepted=", ".join((*VARIANTS, CHECKPOINT)),
                action=f"nearest: {', '.join(nearest(str(variant), (*VARIANTS, CHECKPOINT), 1))}",
            )
        if (variant == CHECKPOINT) != (checkpoint_file is not None) or (variant == CHECKPOINT and preset is not None):
            raise ConfigError(
                f"method '{name}': variant and checkpoint_file do not fit together",
                got=f"method.variant={variant}, method.checkpoint_file={checkpoint_file}, method.preset={preset}",
                accepted=f"method.variant={CHECKPOINT} method.checkpoint_file=FILE without preset, or another variant",
            )
        self.scales = frozenset({self._checkpoint_network.scale if variant == CHECKPOINT else 4})

    # ------------------------------------------------------------------ identity

    @property
    def weight(self) -> str:
        """Id of the weight, for the weights service."""
        return f"realesrgan/{self.variant}"

    @property
    def source(self) -> str:
        """What the id calls the parameters: the variant, or ``checkpoint-`` and the start of the tensor hash."""
        return f"{CHECKPOINT}-{self._checkpoint_hash[:8]}" if self.variant == CHECKPOINT else self.variant

    def identity(self) -> dict[str, Any]:
        """Variant, preset, and tiles and padding where they have an effect; no path."""
        tiles = {"tile": self.tile, "tile_pad": self.tile_pad} if self.tile else {}
        return {"preset": self.preset, "variant": self.source, "pre_pad": self.pre_pad, **tiles}

    @property
    def method_id(self) -> str:
        """The name with all that moves pixels: ``realesrgan[x4plus_ncnn_fp16,tile=100,tile_pad=10]``."""
        moved = {"preset": self.preset, "pre_pad": self.pre_pad or None}
        if self.tile:
            moved |= {"tile": self.tile, "tile_pad": self.tile_pad}
        return f"{self.name}[{','.join([self.source, *(f'{k}={v}' for k, v in moved.items() if v is not None)])}]"

    @cached_property
    def untrained(self) -> bool:
        """As for every learned method; a given checkpoint is trained."""
        if self.variant == CHECKPOINT:
            return self.preset == "tiny"
        return self.preset == "tiny" or (self.allow_untrained and service.state(self.weight) == "absent")

    def weights_hashes(self) -> dict[str, str]:
        """Tensor hash of the parameters."""
        if self.variant == CHECKPOINT:
            return {CHECKPOINT: self._checkpoint_hash}
        return super().weights_hashes()

    # ------------------------------------------------------------------ parameters

    @cached_property
    def _checkpoint(self) -> dict[str, torch.Tensor]:
        assert self.checkpoint_file is not None
        return read_checkpoint(self.checkpoint_file)

    @cached_property
    def _checkpoint_hash(self) -> str:
        return tensor_hash(self._checkpoint)

    @cached_property
    def _checkpoint_network(self) -> RealEsrganNet:
        return network_of(self._checkpoint)

    def setup(self, device: torch.device | str = "cpu", dtype: str = "float32") -> None:
        """Load the parameters and move the network to ``device``."""
        super().setup(device, dtype)
        use_exact_float32(self.device)
        if self.variant == CHECKPOINT:
            network = self._checkpoint_network
            load_strict(network, self._checkpoint)
        else:
            network = tiny_network(self.variant) if self.preset == "tiny" else VARIANTS[self.variant]()
            if self.untrained:
                seed_parameters(network, "realesrgan", self.variant)
            else:
                load_strict(network, service.load_weight(self.weight))
        self.install(network)

    # ------------------------------------------------------------------ restoration

    def restore_stream(self, clip: Clip, request: Request, report: Report) -> Iterator[Frames]:
        """As the base class; the plan states the tiles."""
        for block in super().restore_stream(clip, request, report):
            if self.tile:
                report.plan.update(tile=self.tile, tile_pad=self.tile_pad)
            yield block

    @torch.inference_mode()
    def restore_float(self, frames: torch.Tensor, request: Request) -> torch.Tensor:
        """One frame at a time, so that no result depends on its neighbours."""
        network = self.network
        layout = torch.channels_last if self.optimised else torch.contiguous_format
        tiles = {"tile": self.tile, "tile_pad": self.tile_pad, "pre_pad": self.pre_pad}
        return torch.cat(
            [
                enlarge(network, frame[None].to(self.dtype).contiguous(memory_format=layout), **tiles).float()
                for frame in frames
            ]
        )
