"""For `method_speed.py`: the forms that a method is measured in, and the measuring."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from method_work import Work

from stvsr_bench.core.errors import ConfigError
from stvsr_bench.methods.base import Method, Report, Request, Stage
from stvsr_bench.methods.diffusion import DiffusionMethod
from stvsr_bench.methods.factory import build_method
from stvsr_bench.nn.memory import release_memory
from stvsr_bench.video.clip import ArrayClip, Frames


@dataclass
class Form:
    """One way to run the method, and what it took.

    Attributes:
        name: ``plain``, ``optimised``, ``compiled``, ``optimised float16`` or, for a memory mode, ``optimised low``.
        dtype: of its arithmetic.
        memory: the memory mode asked for; ``None``: the method's default, or it has none.
        setup_seconds: loading and warming up.
        seconds: wall time of each measured restoration.
        cpu_seconds: processor time of each, all threads together.
        peak_bytes: most accelerator memory; ``None`` on a CPU.
        frames_per_second: output frames, at the median wall time.
        psnr: dB over all frames and channels against the ground truth.
        largest_difference: 8-bit levels from the plain form.
        difference_to_optimised: 8-bit levels from the optimised form.
        stages: see ``method_work.stage_rows``.
        plan: how the method split its work; for a diffusion method with the memory mode that was used.
        notes: what the method had to say.
    """

    name: str
    dtype: str
    memory: str | None = None
    setup_seconds: float = 0.0
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    peak_bytes: int | None = None
    frames_per_second: float = 0.0
    psnr: float = 0.0
    largest_difference: int = 0
    difference_to_optimised: int = 0
    stages: list[dict[str, Any]] = field(default_factory=list)
    plan: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@contextmanager
def parameters(kind: str) -> Iterator[None]:
    """With ``random``, keep published parameters out of reach, so that seeded ones of full size take their place."""
    if kind == "real":
        yield
        return
    changed = {"STVSR_BENCH_WEIGHTS": "", "HF_HUB_OFFLINE": "1"}
    before = {name: os.environ.get(name) for name in changed}
    with tempfile.TemporaryDirectory() as empty:
        os.environ.update(changed | {"STVSR_BENCH_WEIGHTS": empty})
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def forms_of(options: dict[str, Any], method: Method) -> list[Form]:
    """The forms to measure, plain first and optimised second.

    Raises:
        ConfigError: memory modes are asked for, and the method has none.
    """
    dtype, modes = options["dtype"], options["memory"]
    if modes and not isinstance(method, DiffusionMethod):
        raise ConfigError(
            "option memory", got=",".join(modes), accepted=f"nothing: method '{method.name}' has no memory modes"
        )
    first, *others = modes or [None]
    forms = [Form("plain", dtype, first), Form("optimised", dtype, first)]
    if options["compile"]:
        forms.append(Form("compiled", dtype, first))
    forms += [Form(f"optimised {mode}", dtype, mode) for mode in others]
    if options["device"].startswith("cuda") and dtype == "float32" and "float16" in method.dtypes:
        forms.append(Form("optimised float16", "float16", first))
    return forms


def build(options: dict[str, Any], knobs: dict[str, Any], form: Form | None = None) -> Method:
    """The method for one form."""
    given = {"allow_untrained": True, **knobs} if options["weights"] == "random" else dict(knobs)
    if form is not None and form.memory is not None:
        given["memory"] = form.memory
    method = build_method(options["method"], given)
    if isinstance(method, DiffusionMethod):
        method.compile = form is not None and (form.name == "compiled" or bool(given.get("compile")))
        method.quick = options["weights"] == "random"
    return method


class Runner:
    """A method set up in one form, ready to restore the clip again and again."""

    def __init__(self, form: Form, method: Method, clip: ArrayClip, request: Request, device: str) -> None:
        self.form, self.method, self.clip, self.request = form, method, clip, request
        self.runs: list[list[Stage]] = []
        start = time.perf_counter()
        for part in (method, *(stage for _, stage in getattr(method, "stages", tuple)())):
            part.optimised = form.name != "plain"
        method.setup(device, form.dtype)
        if form.name == "compiled" and not isinstance(method, DiffusionMethod):
            for name, value in vars(method).items():
                if isinstance(value, torch.nn.Module):
                    value.compile()
                    print(f"compiled: {name}, a {type(value).__name__}")
        # what is compiled is one operation to the counter
        self.work = None if form.name == "compiled" else Work()
        if self.work is None:
            self.output = self.restore(Report())
        else:
            with self.work.counter:
                self.output = self.restore(self.work.report())
        form.setup_seconds = time.perf_counter() - start

    def restore(self, report: Report) -> Frames:
        """One restoration of the clip."""
        return torch.cat(list(self.method.restore(self.clip, self.request, report)))

    def measure(self) -> None:
        """One restoration that counts."""
        report = Report()
        wall, processor = time.perf_counter(), time.process_time()
        self.restore(report)
        self.form.cpu_seconds.append(time.process_time() - processor)
        self.form.seconds.append(time.perf_counter() - wall)
        self.runs.append(report.stages)
        self.form.plan, self.form.notes = report.plan, report.notes
        peaks = [stage.peak_bytes for stage in report.stages if stage.peak_bytes is not None]
        self.form.peak_bytes = max(peaks, default=None)

    def close(self) -> None:
        """Give back the method."""
        self.method.close()
        release_memory(self.method.device)


def runners_of(
    forms: Sequence[Form], options: dict[str, Any], knobs: dict[str, Any], clip: ArrayClip, request: Request
) -> list[Runner]:
    """Measure every form: in turns, or one after another where two may not fit beside one another."""

    def ready(form: Form) -> Runner:
        return Runner(form, build(options, knobs, form), clip, request, options["device"])

    runners = []
    if isinstance(build(options, knobs), DiffusionMethod):
        for form in forms:
            runners.append(ready(form))
            for _ in range(options["repeats"]):
                runners[-1].measure()
            runners[-1].close()
        return runners
    runners = [ready(form) for form in forms]
    for _ in range(options["repeats"]):
        for runner in runners:
            runner.measure()
    return runners
