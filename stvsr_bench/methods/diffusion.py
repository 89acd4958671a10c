"""What every diffusion method needs beside its networks: memory modes, precision per part, stages, progress.

A subclass builds its networks in ``setup`` and hands them to :meth:`DiffusionMethod.hold`; in ``restore_stream`` it
calls :meth:`~DiffusionMethod.plan_memory` once, does each piece of work inside :meth:`~DiffusionMethod.attempt`, and
there runs each network inside :meth:`~DiffusionMethod.using`.
"""

from __future__ import annotations

import logging
import os
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from stvsr_bench.core.errors import ConfigError, MethodError
from stvsr_bench.core.paths import user_path
from stvsr_bench.methods.base import Report, Request
from stvsr_bench.methods.learned import WeightedMethod
from stvsr_bench.nn.measure import StageClock
from stvsr_bench.nn.memory import free_memory, is_out_of_memory, release_memory
from stvsr_bench.nn.offload import Transfer
from stvsr_bench.nn.precision import use_exact_float32
from stvsr_bench.nn.residency import MODES, Mode, Part, Residency
from stvsr_bench.nn.seeded import fill_quickly, give_storage, seed_parameters
from stvsr_bench.video.clip import Clip, Frames

__all__ = ["MODES", "DiffusionMethod", "Geometry", "Mode", "Part", "watched"]

# diffusers loads bitsandbytes where it is installed, and that warns of kernels that nothing here uses
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

Result = TypeVar("Result")

MARGIN = 1.06
"""Needed memory per estimated byte: fragments, and what libraries take for themselves."""
LIBRARY_BYTES = 256 << 20
"""Further needed on CUDA: workspaces of cuBLAS and cuDNN."""


@dataclass(frozen=True)
class Geometry:
    """Padded output of the largest piece of work, in frames and pixels."""

    frames: int
    height: int
    width: int


class DiffusionMethod(WeightedMethod):
    """A method of several large networks, of which one runs at a time.

    Args:
        memory: ``normal`` keeps every part on the device; ``low`` only the one that runs; ``lowest`` of that one only
            the blocks that run; ``auto`` takes the first of these that fits into free memory. Modes may cut work into
            smaller pieces, so that outputs differ by rounding.
        compile: have torch compile the parts; the first clip then takes longer, and outputs differ by rounding.

    Attributes:
        memory_mode: the mode in use; a subclass asks it how large its pieces may be.
        quick: untrained parameters need not be reproducible; set it before ``setup``. For measuring speed at full size.
    """

    presets = frozenset({"tiny"})
    chunking = "own"
    tiling = "own"
    dtypes = frozenset({"float32", "bfloat16"})
    neutral_knobs = frozenset({"memory", "compile"})
    quick: bool = False

    def __init__(
        self,
        *,
        name: str,
        memory: str = "auto",
        compile: bool = False,
        scale: float | None = None,
        time_scale: int | None = None,
        preset: str | None = None,
        allow_untrained: bool = False,
    ) -> None:
        super().__init__(name=name, scale=scale, time_scale=time_scale, preset=preset, allow_untrained=allow_untrained)
        if memory not in ("auto", *MODES):
            raise ConfigError(
                f"method '{name}': memory is no mode", got=repr(memory), accepted=", ".join(("auto", *MODES))
            )
        if not isinstance(compile, bool):
            raise ConfigError(f"method '{name}': compile is a switch", got=repr(compile), accepted="true or false")
        self.memory = memory
        self.compile = compile
        self._parts: dict[str, Residency] = {}
        self._plans: dict[Geometry, dict[str, Any]] = {}
        self._plan: dict[str, Any] = {}
        self._placed: Mode | None = None
        self._running: str | None = None

    def own_checkpoint(self, path: str | os.PathLike[str] | None) -> str | None:
        """Where parameters of the user's own lie, as the knob ``checkpoint`` of a subclass names them.

        Raises:
            ConfigError: a preset, which has parameters of its own, is asked for as well.
        """
        if path is not None and self.preset is not None:
            raise ConfigError(
                f"method '{self.name}': preset={self.preset} has parameters of its own",
                got=f"checkpoint='{path}'",
                accepted="one of the two",
            )
        return None if path is None else str(user_path(path))

    # ------------------------------------------------------------------ what a subclass says

    @abstractmethod
    def part_dtypes(self) -> dict[str, torch.dtype]:
        """The dtype of every part by its name, and of what differs inside it (``vae.deformable``); after ``setup``."""

    @abstractmethod
    def working_bytes(self, part: str, geometry: Geometry, mode: Mode) -> int:
        """Most bytes on the device while ``part`` runs, beside parameters: activations, and what waits for others."""

    # ------------------------------------------------------------------ life cycle

    def setup(self, device: torch.device | str = "cpu", dtype: str = "float32") -> None:
        """As for every method; float32 is float32 on CUDA too. Subclasses then build their parts and hold them."""
        super().setup(device, dtype)
        use_exact_float32(self.device)

    def seeded(self, module: nn.Module, dtype: torch.dtype, *names: str) -> nn.Module:
        """Give ``module``, built on the meta device, parameters that stand in for trained ones.

        They are seeded by ``names``, on the CPU, in float32. Where :attr:`quick` asks, they are noise of the right size
        in ``dtype`` instead, on the device if all parts stay there. On the meta device nothing is filled.

        Raises:
            MethodError: a buffer lies on the meta device, where its values are lost.
        """
        if self.device.type == "meta":
            return module
        lost = [name for name, buffer in module.named_buffers() if buffer.is_meta]
        if lost:
            raise MethodError(
                f"method '{self.name}': buffers of {type(module).__name__} have no values",
                got=", ".join(lost[:4]),
                action="build modules with constant buffers on the CPU, not on the meta device",
            )
        if self.quick:
            give_storage(module, self.device if self.memory in ("auto", "normal") else torch.device("cpu"), dtype)
            fill_quickly(module)
        else:
            give_storage(module, torch.device("cpu"), torch.float32)
            seed_parameters(module, *names)
        return module

    def hold(self, *parts: Part) -> None:
        """Take over the parts, at the end of ``setup``: no gradients, their dtype and layout, compiled if asked for.

        They stay where they are until a plan, or the first :meth:`using`, places them.

        Raises:
            MethodError: a part's dtype is not the one that :meth:`part_dtypes` states.
        """
        transfer = Transfer(self.device)
        stated = self.part_dtypes()
        for part in parts:
            if stated.get(part.name) != part.dtype:
                raise MethodError(
                    f"method '{self.name}': part '{part.name}' is {part.dtype}",
                    accepted=f"{stated.get(part.name)}, as part_dtypes() says",
                )
            part.prepare(optimised=self.optimised, compiled=self.compile)
        self._parts = {part.name: Residency(part, transfer) for part in parts}
        self._placed = None
        self._plans.clear()

    def close(self) -> None:
        """Give back the parts and what they hold on the device."""
        super().close()
        for residency in self._parts.values():
            residency.leave()
        self._parts.clear()
        self._plans.clear()
        self._placed = None
        release_memory(self.device)

    def part(self, name: str) -> nn.Module:
        """A part's module, wherever it is; to run it there is :meth:`using`.

        Raises:
            MethodError: it is not held: ``setup`` was not called.
        """
        if name not in self._parts:
            raise MethodError(
                f"method '{self.name}' holds no part '{name}'",
                accepted=", ".join(self._parts) or "none",
                action="call setup(device, dtype) first",
            )
        return self._parts[name].part.module

    # ------------------------------------------------------------------ memory

    @property
    def memory_mode(self) -> Mode:
        """The mode in use; before a plan, the one asked for."""
        if self._placed is not None:
            return self._placed
        return next((mode for mode in MODES if mode == self.memory), "normal")

    def needed(self, geometry: Geometry) -> dict[str, int]:
        """Bytes that each mode needs on the device: parameters, working memory and a margin."""
        every = sum(residency.total for residency in self._parts.values())
        fixed = LIBRARY_BYTES if self.device.type == "cuda" else 0
        out: dict[str, int] = {}
        for mode in MODES:
            peaks = []
            for name, residency in self._parts.items():
                alone = residency.streamed if mode == "lowest" else residency.total
                leaves = mode != "normal" and self.device.type != "cpu"  # on a CPU nothing has anywhere to go
                peaks.append((alone if leaves else every) + self.working_bytes(name, geometry, mode))
            out[mode] = int(max(peaks, default=0) * MARGIN) + fixed
        return out

    def plan_memory(self, geometry: Geometry, report: Report) -> None:
        """Choose the mode for a clip and place the parts; once per ``restore``, before any work.

        The choice is kept for later clips of the same geometry. ``report.plan`` gets ``memory`` (what was ``asked``,
        the ``mode``, the ``estimates`` of every mode and what was ``free``, in bytes), ``precision`` and ``retries``.

        Raises:
            MethodError: ``auto`` finds no mode that fits; the message says what each needs and what is free.
        """
        plan = self._plans.get(geometry)
        if plan is None:
            plan = self._plans[geometry] = self._planned(geometry)
        free, need = plan["free"], plan["estimates"].get(self.memory, 0)
        if free is not None and need > free:
            report.notes.append(
                f"{self.name}: method.memory={self.memory} needs about {_gib(need)}, and {_gib(free)} are free on "
                f"{self.device}; method.memory=auto takes a mode that fits"
            )
        precision = {name: str(dtype).removeprefix("torch.") for name, dtype in self.part_dtypes().items()}
        report.plan.update(memory=dict(plan), precision=precision)
        report.plan.setdefault("retries", [])
        self._plan = plan
        self.attempt(report, lambda: self._place(plan["mode"]))

    def _planned(self, geometry: Geometry) -> dict[str, Any]:
        estimates = self.needed(geometry)
        free = free_memory(self.device)
        if free is not None:  # what the parts themselves hold is theirs
            free += sum(residency.on_device() for residency in self._parts.values())
        fitting = [mode for mode in MODES if free is None or estimates[mode] <= free]
        if self.memory == "auto" and not fitting:
            option = "" if self.memory_option is None else f", set {self.memory_option}, which moves pixels"
            raise MethodError(
                f"method '{self.name}': no memory mode fits on {self.device} for {geometry.frames} frames of "
                f"{geometry.height}x{geometry.width} at a time",
                got=f"{_gib(free or 0)} free",
                accepted=", ".join(f"{mode} from {_gib(estimates[mode])}" for mode in MODES),
                action=f"free memory, take smaller frames (crop them){option}, or try anyway with method.memory=lowest",
            )
        mode = fitting[0] if self.memory == "auto" else self.memory
        return {"asked": self.memory, "mode": mode, "estimates": estimates, "free": free}

    def _place(self, mode: Mode) -> None:
        if self._placed == mode:
            return
        self._placed = None
        for residency in self._parts.values():
            residency.place(mode)
        self._placed = mode

    def attempt(self, report: Report, work: Callable[[], Result], *generators: torch.Generator) -> Result:
        """Do ``work``; when memory runs out, do it again in the next lower mode, with the same random numbers.

        Args:
            report: its plan gets an entry in ``retries``, its notes a line.
            work: a piece that can be repeated: nothing is yielded and no state is moved on before it returns.
            generators: what it draws from.

        Raises:
            MethodError: memory runs out in the lowest mode too.
        """
        states = [generator.get_state() for generator in generators]
        while True:
            try:
                return work()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                message = str(error).splitlines()[0] if str(error) else type(error).__name__
            # outside the handler, whose traceback would keep the failed attempt's memory
            release_memory(self.device)
            self._lower(report, message)
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)

    def _lower(self, report: Report, message: str) -> None:
        mode = self.memory_mode
        report.plan.setdefault("retries", []).append({"memory": mode, "error": message})
        if mode == MODES[-1]:
            option = "" if self.memory_option is None else f", or set {self.memory_option}, which moves pixels"
            raise MethodError(
                f"method '{self.name}' ran out of memory on {self.device} in the mode {mode}",
                got=message,
                action=f"free memory, or take smaller frames (crop them){option}",
            )
        lower = MODES[MODES.index(mode) + 1]
        report.notes.append(f"{self.name}: memory ran out in the mode {mode}; went on in {lower}")
        self._place(lower)
        for plan in (self._plan, report.plan.get("memory", {})):
            plan["mode"] = lower

    # ------------------------------------------------------------------ work

    @contextmanager
    def using(self, part: str, report: Report, stage: str | None = None) -> Iterator[nn.Module]:
        """Have ``part`` on the device inside the block, timed as ``restore/<method>.<stage or part>``.

        Raises:
            MethodError: the part is not held, or another one is in use.
        """
        self.part(part)
        if self._running is not None:
            raise MethodError(f"method '{self.name}': part '{part}' is asked for while '{self._running}' runs")
        if self._placed is None:
            self._place(self.memory_mode)
        residency = self._parts[part]
        self._running = part
        try:
            with self.timed(report, stage or part):
                try:
                    residency.enter()
                    yield residency.part.module
                except RuntimeError as error:
                    if not self.compile or not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                        raise
                    raise MethodError(
                        f"method '{self.name}': torch cannot compile part '{part}'",
                        got=str(error).splitlines()[0],
                        action="install what torch.compile needs here (a C++ compiler), or set method.compile=false",
                    ) from error
                finally:
                    residency.leave()
            if self._placed != "normal" and self.device.type == "cuda":
                torch.cuda.empty_cache()  # the next part needs other sizes: pieces of this one would only be in its way
        finally:
            self._running = None

    @contextmanager
    def timed(self, report: Report, stage: str) -> Iterator[None]:
        """Time what the block does as ``restore/<method>.<stage>``; for work outside the parts."""
        entry = report.stage(f"{self.name}.{stage}")
        clock = StageClock(self.device)
        try:
            with clock:
                yield
        finally:
            entry.seconds += clock.seconds
            if clock.peak_bytes is not None:
                entry.peak_bytes = max(entry.peak_bytes or 0, clock.peak_bytes)

    def tell(self, report: Report, what: str, done: int, total: int) -> None:
        """Tell whoever watches how far the work within a clip is; ``what``: a verb and a unit, as ``decode tiles``."""
        if report.progress is not None:
            report.progress(what if report.role == "restore" else f"{report.role}: {what}", done, total)

    def rehearse(self, frames: Tensor, request: Request, report: Report) -> None:
        """Pass ``frames``, float ``(T, 3, h, w)`` on the meta device, through every part: work is counted, not done.

        The method is set up on the meta device. By default it is ``restore_float``; a subclass that needs the report
        for :meth:`using` replaces this.
        """
        self.restore_float(frames, request)

    def _checked(self, clip: Clip, request: Request, report: Report) -> Iterator[Frames]:
        """As for every method; each stage has seen every frame that was given out."""
        given = 0
        prefix = f"{report.role}/{self.name}."
        for block in super()._checked(clip, request, report):
            given += len(block)
            for stage in report.stages:
                if stage.name.startswith(prefix):
                    stage.frames = given
            yield block


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


@contextmanager
def watched(blocks: Sequence[nn.Module], tell: Callable[[int, int], None]) -> Iterator[None]:
    """Have ``tell(done, total)`` called after each of ``blocks``, which run one after another inside the block."""
    hooks = [
        block.register_forward_hook(lambda *_, done=done: tell(done, len(blocks)))
        for done, block in enumerate(blocks, 1)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
