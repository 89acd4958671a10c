"""Two stages in a row: super-resolution and interpolation, in either order, frames rounded to 8 bits between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from stvsr_bench.core.errors import ConfigError
from stvsr_bench.methods.base import Method, Report, Request, Task
from stvsr_bench.methods.factory import build_method, method_class
from stvsr_bench.video.clip import Clip, Frames
from stvsr_bench.video.stream import StreamClip

ORDERS = ("vsr-vfi", "vfi-vsr")


class Cascade(Method):
    """A ``vsr`` and a ``vfi`` method chained; the order is part of the identity.

    ``bicubic+dis_flow`` means VSR first, ``dis_flow+bicubic`` VFI first, whatever name the configuration has: ready
    cascades and spelled-out ones are one method. The second stage reads the first one's frames as they are made, or,
    where it reads backwards or twice, from a temporary file that holds them losslessly. Memory does not grow with the
    clip either way, and each stage's time and memory are its own.

    Args:
        vsr: registered name of the super-resolution method.
        vfi: registered name of the interpolation method.
        order: ``vsr-vfi`` or ``vfi-vsr``.
        vsr_options: knobs of the first-named stage that differ from its defaults.
        vfi_options: likewise of the other.
        preset: goes to every stage that has it; at least one must.
    """

    task = "stvsr"
    chunking = "own"
    tiling = "own"

    def __init__(
        self,
        *,
        name: str,
        vsr: str | None = None,
        vfi: str | None = None,
        order: str = "vsr-vfi",
        vsr_options: Mapping[str, Any] | None = None,
        vfi_options: Mapping[str, Any] | None = None,
        scale: int | None = None,
        time_scale: int | None = None,
        preset: str | None = None,
        allow_untrained: bool = False,
    ) -> None:
        if order not in ORDERS:
            raise ConfigError(f"method.order={order}", got=repr(order), accepted=" or ".join(ORDERS))
        names = {"vsr": vsr, "vfi": vfi}
        options = {"vsr": dict(vsr_options or {}), "vfi": dict(vfi_options or {})}
        classes = {role: _stage_class(role, names[role]) for role in names}
        self.presets = frozenset().union(*(found.presets for found in classes.values()))
        super().__init__(
            name="cascade", scale=scale, time_scale=time_scale, preset=preset, allow_untrained=allow_untrained
        )
        self.order = order
        stages = {}
        for role, found in classes.items():
            given: dict[str, Any] = {"allow_untrained": allow_untrained} if allow_untrained else {}
            if preset in found.presets:
                given["preset"] = preset
            stages[role] = build_method(str(names[role]), {**given, **options[role]})
        self.vsr, self.vfi = stages["vsr"], stages["vfi"]
        self.scales, self.time_scales = self.vsr.scales, self.vfi.time_scales
        self.scale = self.scale if self.scale is not None else self.vsr.scale
        self.time_scale = self.time_scale if self.time_scale is not None else self.vfi.time_scale
        self.reads = self.stages()[0][1].reads
        self.deterministic = self.vsr.deterministic and self.vfi.deterministic
        self.needs_prompt = self.vsr.needs_prompt or self.vfi.needs_prompt
        self.dtypes = self.vsr.dtypes & self.vfi.dtypes
        self.split_tolerance = max(self.vsr.split_tolerance, self.vfi.split_tolerance)

    def stages(self) -> tuple[tuple[str, Method], tuple[str, Method]]:
        """The two stages with their roles, in the order of the data."""
        pair = (("vsr", self.vsr), ("vfi", self.vfi))
        return pair if self.order == "vsr-vfi" else (pair[1], pair[0])

    @property
    def method_id(self) -> str:
        """The stages' ids in the order of the data, joined by ``+``."""
        return "+".join(stage.method_id for _, stage in self.stages())

    def knobs(self) -> dict[str, Any]:
        """Order and, for each stage, name, version and knobs."""
        return {
            "order": self.order,
            **{role: {"name": m.name, "version": m.version, **m.identity()} for role, m in self.stages()},
        }

    def identity(self) -> dict[str, Any]:
        """The same as :meth:`knobs`: which stage a preset reached stands with the stages."""
        return self.knobs()

    def weights_hashes(self) -> dict[str, str]:
        return {f"{role}/{k}": v for role, m in self.stages() for k, v in m.weights_hashes().items()}

    @property
    def untrained(self) -> bool:
        return self.vsr.untrained or self.vfi.untrained

    def setup(self, device: torch.device | str = "cpu", dtype: str = "float32") -> None:
        super().setup(device, dtype)
        self.vsr.setup(device, dtype)
        self.vfi.setup(device, dtype)

    def close(self) -> None:
        self.vsr.close()
        self.vfi.close()
        super().close()

    def restore_stream(self, clip: Clip, request: Request, report: Report) -> Iterator[Frames]:
        (first_role, first), (second_role, second) = self.stages()
        requests = {
            "vsr": Request(request.scale, 1, request.seed, request.name),
            "vfi": Request(1, request.time_scale, request.seed, request.name),
        }
        reports = {role: report.child(role) for role in (first_role, second_role)}
        reports[first_role].stage(first.name)  # stages stand in the order of the data, though the second starts first
        between = requests[first_role]
        height, width = between.size(clip.height, clip.width)
        frames = StreamClip(
            first.restore(clip, between, reports[first_role]),
            length=(len(clip) - 1) * between.time_scale + 1,
            height=height,
            width=width,
            name=clip.name,
            frame_rate=clip.frame_rate * between.time_scale if clip.frame_rate is not None else None,
            spool=second.reads == "random",
        )
        try:
            yield from second.restore(frames, requests[second_role], reports[second_role])
        finally:
            frames.close()


def _stage_class(role: Task | str, name: str | None) -> type[Method]:
    if not name:
        raise ConfigError(
            f"a cascade needs method.{role}",
            got="nothing",
            accepted=f"the name of a {role} method",
            action=f"add method.{role}=NAME; an example: method=cascade method.vsr=bicubic method.vfi=dis_flow",
        )
    found = method_class(name)
    if issubclass(found, Cascade) or found.task != role:
        raise ConfigError(
            f"method.{role}={name} cannot be a stage of a cascade",
            got="another cascade" if issubclass(found, Cascade) else f"a method whose task is {found.task}",
            accepted=f"a method whose task is {role}, see `stvsr-bench list methods`",
        )
    return found
