"""RIFE as a method: variants, identity, padding, and which frames run together."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from stvsr_bench.core.errors import ConfigError
from stvsr_bench.core.paths import user_path
from stvsr_bench.methods.base import Request
from stvsr_bench.methods.learned import LearnedMethod
from stvsr_bench.methods.rife.checkpoint import network_of, read_checkpoint
from stvsr_bench.nn.ifnet_paper import IFNet
from stvsr_bench.nn.padding import padded_length
from stvsr_bench.nn.precision import use_exact_float32
from stvsr_bench.nn.rife4 import Rife4
from stvsr_bench.nn.seeded import seed_parameters
from stvsr_bench.weights import service
from stvsr_bench.weights.identity import tensor_hash
from stvsr_bench.weights.strict import load_strict

VARIANTS = ("4.0", "paper", "paper_m")
FLOW_SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
BATCH_PIXELS = 4_000_000
"""Padded pixels in a batch, wanted frames of one pair, on an accelerator. On a CPU each frame runs alone."""

_MULTIPLE = {"4.0": 128, "paper": 32, "paper_m": 32}
_TINY_WIDTHS = (16, 12, 8, 8)
_TINY_REFINE_WIDTH = 2

Features = list[Tensor]
"""What the context network makes of one frame."""
Item = TypeVar("Item")


class Rife(LearnedMethod[Rife4 | IFNet]):
    """Interpolation by RIFE between each two neighbouring LQ frames.

    LQ frames pass through untouched. Frames are padded with zeros at the right and bottom to a multiple of 128 (4.0) or
    32 (the paper's networks), and of that divided by ``flow_scale`` where it is below 1, as upstream does: another
    multiple gives other pixels. Flow looks at the whole frame, so frames are not tiled.

    ``4.0`` and ``paper_m`` are told the time: every wanted frame is one call on the two LQ frames around it. ``paper``
    knows the middle only, and bisects: φt 2, 4 and 8, on float frames that stay padded until the end.

    Source: Huang, Zhang, Heng, Shi and Zhou, «Real-Time Intermediate Flow Estimation for Video Frame Interpolation»,
    ECCV 2022; ``paper`` and ``paper_m`` are its IFNet and IFNet_m (hzwer/ECCV2022-RIFE, commit 5d8adbd). Model 4.0 is
    an engineering release of Practical-RIFE without a paper of its own, with two differences from what its wrapper
    does: the refinement, whose trained weights the file holds, is on; and the doubling of scales under fast motion is
    decided for each frame instead of for a whole batch. Nothing here looks for scene changes or static frames.

    Args:
        variant: one of ``VARIANTS``.
        refine: add the refinement.
        ensemble: call each flow block in both directions of time and take the mean; ``4.0`` only.
        tta: test-time augmentation: the mean with what is found in frames turned by 180 degrees; ``paper`` and
            ``paper_m`` only.
        flow_scale: what upstream calls ``scale``: 0.5 estimates motion at half the resolution (meant for 4K), 2 at
            double; ``method.scale`` is φs, which interpolation leaves at 1.
        checkpoint: a ``flownet.pkl`` of ``paper`` or ``paper_m``, or its folder; ``None`` takes the card's weight.
        checkpoint_hash: sha256 or tensor hash that it must have.
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
        tta: bool = False,
        flow_scale: float = 1.0,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_hash: str | None = None,
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
        for knob, value in (("refine", refine), ("ensemble", ensemble), ("tta", tta)):
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
        self.tta = tta
        self.flow_scale = float(flow_scale)
        self.checkpoint = None if checkpoint is None else user_path(checkpoint)
        self.checkpoint_hash = checkpoint_hash
        self._check_the_variants_knobs()
        # knobs of another variant move no pixel, and the checkpoint's place does not: identity() has its hash
        foreign = {"tta"} if self.variant == "4.0" else {"ensemble"}
        self.neutral_knobs = frozenset({"checkpoint", "checkpoint_hash"} | foreign)
        if self.variant == "paper":
            self.time_scales = frozenset({1, 2, 4, 8})

    def _check_the_variants_knobs(self) -> None:
        of_paper = {"tta": self.tta, "checkpoint": self.checkpoint, "checkpoint_hash": self.checkpoint_hash}
        wrong = [knob for knob, value in of_paper.items() if value] if self.variant == "4.0" else []
        wrong += ["ensemble"] if self.ensemble and self.variant != "4.0" else []
        if wrong:
            raise ConfigError(
                f"method '{self.name}': variant {self.variant} has no {wrong[0]}",
                got=f"method.{wrong[0]}={getattr(self, wrong[0])}",
                accepted="ensemble with 4.0; tta, checkpoint and checkpoint_hash with paper and paper_m",
            )
        if self.checkpoint is not None and self.preset is not None:
            raise ConfigError(
                f"method '{self.name}': preset {self.preset} has seeded parameters",
                got=f"method.checkpoint={self.checkpoint}",
                accepted="either a preset or a checkpoint",
            )
        digits = self.checkpoint_hash
        if digits is not None and (self.checkpoint is None or not re.fullmatch("[0-9a-f]{64}", str(digits))):
            raise ConfigError(
                f"method '{self.name}': checkpoint_hash says what method.checkpoint must be",
                got=f"method.checkpoint={self.checkpoint}, method.checkpoint_hash={digits!r}",
                accepted="64 hexadecimal digits, the sha256 of the file or its tensor hash, together with its path",
            )

    # ------------------------------------------------------------------ identity

    def identity(self) -> dict[str, Any]:
        """The resolved knobs of this variant, and the tensor hash of a given checkpoint instead of its path."""
        given = {} if self.checkpoint is None else {"checkpoint": self._given_hash}
        return {**super().identity(), **given}

    @property
    def method_id(self) -> str:
        """The variant and what moves its pixels: ``rife[4.0+refine]``, ``rife[paper]``, ``rife[paper_m+tta]``.

        The paper's networks include their refinement, so that its absence is told; what is called 4.0 does not.
        """
        parts = [self.variant]
        if self.variant == "4.0":
            parts += ["refine"] * self.refine + ["ensemble"] * self.ensemble
        else:
            parts += ["unrefined"] * (not self.refine) + ["tta"] * self.tta
        if self.flow_scale != 1:
            parts.append(f"scale{self.flow_scale:g}")
        if self.checkpoint is not None:
            parts.append(f"checkpoint-{self._given_hash[:8]}")
        preset = f",preset={self.preset}" if self.preset is not None else ""
        return f"{self.name}[{'+'.join(parts)}{preset}]"

    @property
    def weight(self) -> str:
        """The id of the parameters."""
        return f"rife/{self.variant}"

    @cached_property
    def untrained(self) -> bool:
        """As for every learned method; a given checkpoint is trained."""
        return self.preset == "tiny" or (
            self.checkpoint is None and self.allow_untrained and service.state(self.weight) == "absent"
        )

    def weights_hashes(self) -> dict[str, str]:
        """Tensor hash of the parameters."""
        return super().weights_hashes() if self.checkpoint is None else {"checkpoint": self._given_hash}

    @cached_property
    def _given(self) -> dict[str, Tensor]:
        """The tensors of the given checkpoint."""
        assert self.checkpoint is not None
        return read_checkpoint(self.checkpoint, self.checkpoint_hash)

    @cached_property
    def _given_hash(self) -> str:
        return tensor_hash(self._given)

    def misfit(self, scale: float, time_scale: int) -> str | None:
        """As the base class, and why ``paper`` lacks other φt."""
        reason = super().misfit(scale, time_scale)
        if reason is not None and self.time_scales is not None and time_scale not in self.time_scales:
            reason += "; it finds middle frames only, method.variant=paper_m takes any φt"
        return reason

    # ------------------------------------------------------------------ life cycle

    def setup(self, device: torch.device | str = "cpu", dtype: str = "float32") -> None:
        """Load the parameters and move the network to ``device``; warping stays in float32 whatever the dtype."""
        super().setup(device, dtype)
        if self.variant != "4.0":
            use_exact_float32(self.device)
        if self.untrained:
            network = self._seeded()
        elif self.variant == "4.0":
            network = Rife4(optimised=self.optimised)
            load_strict(network, service.load_weight(self.weight))
        else:
            tensors = service.load_weight(self.weight) if self.checkpoint is None else self._given
            network = network_of(tensors, self.variant, optimised=self.optimised)
        self.install(network)

    def _seeded(self) -> Rife4 | IFNet:
        sizes = (_TINY_WIDTHS, _TINY_REFINE_WIDTH) if self.preset == "tiny" else ()
        network: Rife4 | IFNet
        if self.variant == "4.0":
            network = Rife4(*sizes, optimised=self.optimised)
        else:
            network = IFNet(*sizes, timed=self.variant == "paper_m", optimised=self.optimised)
        seed_parameters(network, "rife", self.variant)
        return network

    # ------------------------------------------------------------------ restoration

    @torch.inference_mode()
    def restore_float(self, frames: Tensor, request: Request) -> Tensor:
        """LQ frames as they are, and between each two of them ``φt - 1`` frames of the network."""
        factor = request.time_scale
        height, width = frames.shape[-2:]
        out = frames.new_empty((len(frames) - 1) * factor + 1, *frames.shape[1:])
        out[::factor] = frames
        if factor == 1:
            return out
        multiple = max(_MULTIPLE[self.variant], int(_MULTIPLE[self.variant] / self.flow_scale))
        tall, wide = padded_length(height, multiple), padded_length(width, multiple)
        padded = F.pad(frames, (0, wide - width, 0, tall - height))
        fill = self._bisected if self.variant == "paper" else self._at_times
        early = self._features(padded[:1])
        for index in range(len(frames) - 1):
            late = self._features(padded[index + 1 : index + 2])
            at = index * factor + 1
            for found in fill(padded[index : index + 2], [early, late], factor):
                out[at : at + len(found)] = found[..., :height, :width]
                at += len(found)
            early = late
        return out

    def _at_times(self, pair: Tensor, features: list[Features], factor: int) -> Iterator[Tensor]:
        """The frames between the two of ``pair`` ``(2, 3, H, W)``, each found from these two."""
        together = pair.reshape(1, 6, *pair.shape[-2:])
        for steps in self._batches(factor - 1, together[0, 0].numel()):
            times = torch.tensor([(step + 1) / factor for step in steps], device=pair.device)
            yield self._run(together.expand(len(steps), -1, -1, -1).contiguous(), times, features[:1], features[1:])

    def _bisected(self, pair: Tensor, features: list[Features], factor: int) -> Iterator[Tensor]:
        """The frames between the two of ``pair``: the middle of each neighbouring two, again and again."""
        frames = [pair[:1], pair[1:]]
        while len(frames) <= factor:
            middles: list[Tensor] = []
            for part in self._batches(len(frames) - 1, pair[0, 0].numel()):
                first, second = slice(part.start, part.stop), slice(part.start + 1, part.stop + 1)
                pairs = torch.cat([torch.cat(frames[first]), torch.cat(frames[second])], 1)
                middles += self._run(pairs, None, features[first], features[second]).unsqueeze(1)
            frames = _interleaved(frames, middles)
            if len(frames) <= factor:
                features = _interleaved(features, [self._features(middle) for middle in middles])
        yield torch.cat(frames[1:-1])

    def _run(self, pairs: Tensor, times: Tensor | None, first: list[Features], second: list[Features]) -> Tensor:
        """The wanted frames ``(B, 3, H, W)`` of ``pairs`` ``(B, 6, H, W)``."""
        mean = {"ensemble": self.ensemble} if self.variant == "4.0" else {"tta": self.tta}
        context = (_batch(first), _batch(second)) if first[0] else None
        found = self.network(pairs, times, flow_scale=self.flow_scale, refine=self.refine, context=context, **mean)
        output: Tensor = found.output
        return output

    def _features(self, frame: Tensor) -> Features:
        """What the context network makes of ``frame`` ``(1, 3, H, W)``, for all that it takes part in.

        The plain form, which computes it anew for every wanted frame, gets nothing.
        """
        contextnet = self.network.contextnet if self.refine and self.optimised else None
        return [] if contextnet is None else contextnet(frame)

    def _batches(self, count: int, pixels: int) -> Iterator[range]:
        """The frames wanted of one pair, in batches that depend on the sizes only, never on the rest of the clip."""
        together = max(1, BATCH_PIXELS // pixels) if self.optimised and self.device.type != "cpu" else 1
        for start in range(0, count, together):
            yield range(start, min(start + together, count))


def _batch(features: list[Features]) -> Features:
    return features[0] if len(features) == 1 else [torch.cat(levels) for levels in zip(*features, strict=True)]


def _interleaved(outer: list[Item], inner: list[Item]) -> list[Item]:
    """``outer`` with one item of ``inner`` between each two."""
    return [item for both in zip(outer, inner, strict=False) for item in both] + outer[-1:]
