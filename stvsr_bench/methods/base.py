"""The method contract: what every method declares, and what the base class does so that no method has to.

A method restores a low-quality (LQ) clip of ``n`` frames ``(h, w)`` to ``(n - 1)·φt + 1`` frames ``(φs·h, φs·w)``;
LQ frame ``i`` sits at output frame ``i·φt``. The base class streams the clip in windows, pads to the method's rules and
crops back, tiles, retries smaller when memory runs out, measures, and checks what comes out.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch

from stvsr_bench.core.errors import ConfigError, IncompatibleError, MethodError
from stvsr_bench.core.seeding import derive_seed
from stvsr_bench.nn.measure import StageClock
from stvsr_bench.nn.padding import padded_length
from stvsr_bench.video.clip import Clip, Frames
from stvsr_bench.video.color import to_float

Task = Literal["vsr", "vfi", "stvsr"]
Split = Literal["base", "own", "none"]

ANY_DTYPE = frozenset({"float32", "float16", "bfloat16"})
"""For methods whose arithmetic is fixed: a run's ``dtype`` concerns learned methods and changes nothing here."""

_BASE_KNOBS = frozenset({"self", "name", "scale", "time_scale", "preset", "allow_untrained"})


@dataclass(frozen=True)
class SizeRule:
    """LQ heights and widths a method accepts; others are mirrored at the right and bottom, and cropped back."""

    multiple: int = 1
    minimum: int = 1

    def padded(self, side: int) -> int:
        """The side that ``side`` is padded to."""
        return padded_length(side, self.multiple, 0, self.minimum)


@dataclass(frozen=True)
class CountRule:
    """LQ frame counts a method accepts: ``multiple·k + offset``, at least ``minimum``; others repeat the last frame."""

    multiple: int = 1
    offset: int = 0
    minimum: int = 1

    def padded(self, count: int) -> int:
        """The count that ``count`` is padded to."""
        return padded_length(count, self.multiple, self.offset, self.minimum)


@dataclass(frozen=True)
class Request:
    """What one ``restore`` call must produce.

    Attributes:
        scale: φs, output pixels per LQ pixel along each side; whole, except for methods with ``fractional_scales``.
        time_scale: φt, output frame intervals per LQ frame interval.
        seed: of the run or, already derived from it, of the sample.
        name: the sample's name; with ``seed`` it fixes the random numbers.
        first_frame: number, in the sample's whole output, of the first frame asked for; not 0 only where the protocol
            cuts the sample into windows.
        sample_frames: frames of the sample's whole output; ``None`` where this request is all of it.
    """

    scale: float
    time_scale: int
    seed: int = 0
    name: str = "clip"
    first_frame: int = 0
    sample_frames: int | None = None

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that an LQ frame of ``height`` and ``width`` becomes."""
        return scaled_side(height, self.scale), scaled_side(width, self.scale)


def scaled_side(side: int, scale: float) -> int:
    """Pixels that ``side`` pixels become at ``scale``: what is left of a pixel is dropped, as torch does.

    >>> scaled_side(96, 4), scaled_side(7, 1.5)
    (384, 10)
    """
    return math.floor(side * scale)


@dataclass
class Stage:
    """Time and memory of one stage: the method's own work, neither decoding nor another stage.

    Attributes:
        name: role and method, for example ``restore/bicubic`` or, in a cascade, ``vfi/dis_flow``.
        seconds: wall time, synchronised with the device.
        peak_bytes: most memory allocated on the accelerator; ``None`` on a CPU.
        frames: output frames so far.
    """

    name: str
    seconds: float = 0.0
    peak_bytes: int | None = None
    frames: int = 0


@dataclass
class Report:
    """What a restoration used: filled while ``restore`` runs, stored in the result.

    Attributes:
        plan: how the work was split: ``chunk`` (LQ frames per window), ``windows``, ``tile`` (LQ pixels or ``None``)
            and ``retries``, one entry per time that memory ran out; a cascade has one such plan per stage.
        stages: in the order of the data.
        notes: what a user should know.
        role: what the stage is called.
        progress: told how far the work within a clip is, as (``decode tiles``, done, in all); ``None``: nobody watches.
    """

    plan: dict[str, Any] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    role: str = "restore"
    progress: Callable[[str, int, int], None] | None = None

    def stage(self, name: str) -> Stage:
        """The stage called ``role/name``, made when it is first asked for."""
        full = f"{self.role}/{name}"
        for stage in self.stages:
            if stage.name == full:
                return stage
        self.stages.append(Stage(full))
        return self.stages[-1]

    def child(self, role: str) -> Report:
        """The report of one stage of a cascade: same lists of stages and notes, its own plan under ``plan[role]``."""
        return Report(self.plan.setdefault(role, {}), self.stages, self.notes, role, self.progress)


class Method(ABC):
    """A restoration method, constructed from its configuration only.

    A subclass takes its knobs as keyword-only arguments with the defaults of its ``config.yaml``, stores each in an
    attribute of the same name, declares the class attributes below, and writes :meth:`restore_float`.

    Life cycle: ``setup(device, dtype)``, any number of ``restore(clip, request)``, ``close()``.

    Args:
        name: the registered name.
        scale: φs; ``None`` takes it from the protocol.
        time_scale: φt; likewise.
        preset: a named set of knobs; one of :attr:`presets`.
        allow_untrained: let a learned method run without its weights; the result is marked and never ranked.

    Attributes:
        version: raised by any change that moves a pixel.
        task: ``vsr`` (φt = 1), ``vfi`` (φs = 1) or ``stvsr``.
        scales: the φs it can do; ``None``: every one from 1 (always 1 for ``vfi``).
        fractional_scales: whether φs need not be a whole number; an output side is then ``floor(φs·side)``.
        time_scales: the φt it can do, likewise (always 1 for ``vsr``).
        usual_factors: φs and φt that its parameters were trained for, where it can do others; only benchmarks ask.
        presets: the accepted values of ``preset``, besides ``None``.
        size_rule: LQ sizes it accepts; the base class pads to it and crops back.
        count_rule: LQ frame counts it accepts, likewise.
        deterministic: equal requests give equal pixels on one machine.
        needs_prompt: it wants a text beside the clip.
        chunking: who cuts the clip into windows in time: the base class, the method itself
            (:meth:`restore_stream`), or nobody.
        tiling: who cuts frames into tiles, likewise.
        context: LQ frames on either side that an output may depend on (base chunking).
        tile_overlap: LQ pixels on either side that an output may depend on (base tiling).
        minimum_tile: smallest LQ tile side, without overlap, that base tiling goes down to.
        merge: how overlapping windows and tiles become one.
        split_tolerance: largest difference, in 8-bit levels, between split and unsplit output.
        chunk: most LQ frames in one window (base chunking).
        dtypes: names of the torch dtypes whose arithmetic it supports.
        reads: how the clip is read: ``forward``, each frame once, or ``random``: backwards, or more than once. A
            cascade then keeps the frames of the stage before in a temporary file.
        neutral_knobs: knobs that move no pixel; they are in neither the id nor the restore key.
        memory_option: the option that lowers the memory need where the base class must not, because it moves pixels.
        optimised: networks run in their fast form. Set it to ``False`` on an instance, before ``setup``, for the plain
            eager form of the same arithmetic (contiguous layout, nothing cached, one piece at a time), which
            ``benchmarks/method_speed.py`` puts beside it; no knob, and never part of an identity.
    """

    version: ClassVar[int] = 1
    task: Task
    scales: frozenset[int] | None = None
    fractional_scales: bool = False
    time_scales: frozenset[int] | None = None
    usual_factors: tuple[int, int] | None = None
    presets: frozenset[str] = frozenset()
    size_rule: SizeRule = SizeRule()
    count_rule: CountRule = CountRule()
    deterministic: bool = True
    needs_prompt: bool = False
    chunking: Split = "base"
    tiling: Split = "none"
    context: int = 0
    tile_overlap: int = 0
    minimum_tile: int = 16
    merge: Literal["cut", "drop_head", "blend"] = "cut"
    split_tolerance: int = 0
    chunk: int = 8
    dtypes: frozenset[str] = frozenset({"float32"})
    reads: Literal["forward", "random"] = "forward"
    neutral_knobs: frozenset[str] = frozenset()
    memory_option: str | None = None
    optimised: bool = True

    def __init__(
        self,
        *,
        name: str,
        scale: float | None = None,
        time_scale: int | None = None,
        preset: str | None = None,
        allow_untrained: bool = False,
    ) -> None:
        self.name = name
        self.scale = scale
        self.time_scale = time_scale
        self.preset = preset
        self.allow_untrained = allow_untrained
        self.device = torch.device("cpu")
        self.dtype = torch.float32
        self.ready = False
        if self.task == "vsr":
            self.time_scales = frozenset({1})
        if self.task == "vfi":
            self.scales = frozenset({1})
        for knob, value, fractional in (("scale", scale, self.fractional_scales), ("time_scale", time_scale, False)):
            if value is not None and not is_factor(value, fractional=fractional):
                raise ConfigError(
                    f"method '{name}': {knob} is not a factor",
                    got=repr(value),
                    accepted=f"{'a' if fractional else 'a whole'} number from 1, or null",
                )
        if preset is not None and preset not in self.presets:
            raise ConfigError(
                f"method '{name}' has no preset '{preset}'",
                accepted=", ".join(sorted(self.presets)) if self.presets else "null: it has no presets",
            )

    # ------------------------------------------------------------------ identity

    def knobs(self) -> dict[str, Any]:
        """Every resolved knob beyond those of the base class, in the order of the constructor."""
        return {k: getattr(self, k) for k in inspect.signature(type(self).__init__).parameters if k not in _BASE_KNOBS}

    def identity(self) -> dict[str, Any]:
        """The resolved knobs that move pixels, as JSON values; they enter the restore key."""
        return {"preset": self.preset, **{k: v for k, v in self.knobs().items() if k not in self.neutral_knobs}}

    @property
    def method_id(self) -> str:
        """The name, and in brackets the pixel-moving knobs that differ from their defaults: ``x[preset=fast]``.

        Of a group of knobs only those that differ are shown: ``x[flow.mode=fast]``.
        """
        parameters = inspect.signature(type(self).__init__).parameters
        moved = {"preset": self.preset} if self.preset is not None else {}
        for knob, value in self.knobs().items():
            if knob not in self.neutral_knobs:
                moved |= _moved(knob, value, parameters[knob].default)
        if not moved:
            return self.name
        return f"{self.name}[{','.join(f'{k}={_text(moved[k])}' for k in sorted(moved))}]"

    @property
    def label(self) -> str:
        """What tables call the method."""
        return self.method_id

    def weights_hashes(self) -> dict[str, str]:
        """Tensor hash of each weight in use, by its name; empty for a method without weights."""
        return {}

    @property
    def untrained(self) -> bool:
        """Whether a learned method runs without its weights."""
        return False

    def sample_key(self, sample: str) -> str | None:
        """What else fixes the output of a sample, for methods that read something beside the LQ clip; or ``None``."""
        return None

    # ------------------------------------------------------------------ factors

    def factors(self) -> tuple[float | None, int | None]:
        """φs and φt where the configuration or the method leaves no choice, else ``None``."""
        time_scale = _only(self.time_scale, self.time_scales)
        return (_only(self.scale, self.scales), None if time_scale is None else int(time_scale))

    def misfit(self, scale: float, time_scale: int) -> str | None:
        """Say why the method cannot do ``scale`` and ``time_scale``, or ``None`` when it can.

        A configured ``scale`` or ``time_scale`` is checked too: in a run it may only repeat the protocol's.
        """
        for label, knob, value, fixed, able in (
            ("φs", "scale", scale, self.scale, self.scales),
            ("φt", "time_scale", time_scale, self.time_scale, self.time_scales),
        ):
            if not is_factor(value, fractional=knob == "scale" and self.fractional_scales):
                return f"it does whole factors from 1, and {label} is {value}"
            if able is not None and value not in able:
                return f"it does {label} {', '.join(map(str, sorted(able)))}, not {value}"
            if fixed is not None and value != fixed:
                return f"method.{knob}={fixed} was asked for, which is not the {label} {value} of this work"
        return None

    # ------------------------------------------------------------------ life cycle

    def setup(self, device: torch.device | str = "cpu", dtype: str = "float32") -> None:
        """Load weights and move to ``device``; subclasses call this first.

        Args:
            device: where the arithmetic runs.
            dtype: one of :attr:`dtypes`.

        Raises:
            ConfigError: the method does not support ``dtype``.
        """
        if dtype not in self.dtypes:
            raise ConfigError(
                f"method '{self.name}' cannot run in this dtype",
                got=f"dtype={dtype}",
                accepted=", ".join(sorted(self.dtypes)),
            )
        self.device = torch.device(device)
        self.dtype = getattr(torch, dtype)
        self.ready = True

    def close(self) -> None:
        """Give back what ``setup`` took; ``setup`` may follow again."""
        self.ready = False

    def generator(self, request: Request, *names: str) -> torch.Generator:
        """A CPU generator seeded by (seed, sample name, ``names``): order and executor never change a result."""
        return torch.Generator().manual_seed(derive_seed(request.seed, request.name, *names))

    # ------------------------------------------------------------------ restoration

    def restore(self, clip: Clip, request: Request, report: Report | None = None) -> Iterator[Frames]:
        """Restore ``clip``, yielding uint8 blocks ``(T, 3, φs·h, φs·w)`` in order, ``(n - 1)·φt + 1`` frames in all.

        Args:
            clip: the LQ clip; read as :attr:`reads` says, where that is ``forward`` strictly so and each frame once.
            request: the factors and the seed.
            report: filled while the blocks are taken.

        Raises:
            IncompatibleError: the method cannot do the request; raised at once.
            MethodError: ``setup`` was not called, the method broke its contract, or memory runs out even for the
                smallest piece.
        """
        if not self.ready:
            raise MethodError(f"method '{self.name}' is not set up", action="call setup(device, dtype) before restore")
        reason = self.misfit(request.scale, request.time_scale)
        if reason is not None:
            raise IncompatibleError(
                f"method '{self.name}' cannot restore clip '{clip.name}'", got=reason, action=f"see `show {self.name}`"
            )
        return self._checked(clip, request, report if report is not None else Report())

    def _checked(self, clip: Clip, request: Request, report: Report) -> Iterator[Frames]:
        size = request.size(clip.height, clip.width)
        total = (len(clip) - 1) * request.time_scale + 1
        given = 0
        for block in self.restore_stream(clip, request, report):
            given += len(block)
            if block.dtype != torch.uint8 or tuple(block.shape[1:]) != (3, *size) or given > total:
                raise self._broken(
                    clip, f"{given} frames, the last block {tuple(block.shape)} {block.dtype}", total, size
                )
            yield block
        if given != total:
            raise self._broken(clip, f"{given} frames", total, size)

    def _broken(self, clip: Clip, got: str, total: int, size: tuple[int, int]) -> MethodError:
        return MethodError(
            f"method '{self.name}' broke its contract on clip '{clip.name}'",
            got=got,
            accepted=f"{total} uint8 frames (3, {size[0]}, {size[1]})",
            action="this is an error in the method, not in the data",
        )

    def restore_stream(self, clip: Clip, request: Request, report: Report) -> Iterator[Frames]:
        """Do the work of :meth:`restore`; methods whose ``chunking`` is ``own`` replace it."""
        from stvsr_bench.methods.splitting import restore_in_pieces

        yield from restore_in_pieces(self, clip, request, report, StageClock(self.device))

    def restore_block(self, frames: Frames, request: Request) -> torch.Tensor:
        """Restore one piece that keeps the size and count rules.

        Args:
            frames: uint8 ``(T, 3, h, w)`` on the CPU.
            request: the factors and the seed.

        Returns:
            ``((T - 1)·φt + 1, 3, φs·h, φs·w)``: uint8, or float in [0, 1] that the base class rounds once. Methods with
            8-bit arithmetic replace this; by default it is :meth:`restore_float` on the device.
        """
        return self.restore_float(to_float(frames.to(self.device)), request)

    def restore_float(self, frames: torch.Tensor, request: Request) -> torch.Tensor:
        """The method itself: float32 RGB in [0, 1] ``(T, 3, h, w)`` to ``((T - 1)·φt + 1, 3, φs·h, φs·w)``.

        Values may leave [0, 1]; they are clamped when they are rounded.
        """
        raise NotImplementedError(f"{type(self).__name__} has neither restore_float, restore_block nor restore_stream")


def is_factor(value: object, *, fractional: bool) -> bool:
    """Say whether ``value`` is a factor from 1: whole, or any finite number where ``fractional``.

    >>> is_factor(4, fractional=False), is_factor(1.5, fractional=False), is_factor(1.5, fractional=True)
    (True, False, True)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 1 <= value < math.inf and (fractional or isinstance(value, int))


def _only(fixed: float | None, able: frozenset[int] | None) -> float | None:
    if fixed is not None:
        return fixed
    return next(iter(able)) if able is not None and len(able) == 1 else None


def _moved(knob: str, value: Any, default: Any) -> dict[str, Any]:
    """What of a knob differs from its default; of a group with the default's own keys, every one that does."""
    if isinstance(value, Mapping) and isinstance(default, Mapping) and value.keys() == default.keys():
        return {k: v for key in value for k, v in _moved(f"{knob}.{key}", value[key], default[key]).items()}
    return {knob: value} if value != default else {}


def _text(value: Any) -> str:
    """A knob's value in an id: as YAML would show it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{k}={_text(value[k])}" for k in sorted(value)) + "}"
    if isinstance(value, list | tuple):
        return "(" + ",".join(map(_text, value)) + ")"
    return str(value)
