"""For `method_speed.py`: how much a method computes, stage by stage, and how fast the device could have done it."""

from __future__ import annotations

import dataclasses
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from stvsr_bench.core.errors import BenchError, MethodError
from stvsr_bench.methods.base import Method, Report, Request, Stage
from stvsr_bench.methods.diffusion import DiffusionMethod
from stvsr_bench.video.color import to_float

LARGEST_PRODUCT = 16384
LONG_ENOUGH = {"cuda": 0.02, "cpu": 0.1}
"""Seconds that a matrix product must take for its rate to be that of the device."""


class Work:
    """Counts floating-point operations inside its ``counter``, by the stage that they were done for.

    A stage's operations are those counted between its turns: until its time is written down, after that of another.

    Attributes:
        flop: of each stage, by its name; a product and its sum are two.
    """

    def __init__(self) -> None:
        self.counter = FlopCounterMode(display=False, custom_mapping=_further_formulas())
        self.flop: dict[str, int] = {}
        self._seen = 0

    def report(self) -> Report:
        """A report whose stages count."""
        return _CountingReport(work=self)

    def written(self, name: str) -> None:
        """Take what was counted since the last call for the stage ``name``."""
        total = self.counter.get_total_flops()
        self.flop[name] = self.flop.get(name, 0) + total - self._seen
        self._seen = total


class _CountingStage(Stage):
    def __init__(self, name: str, work: Work) -> None:
        self._work: Work | None = None
        super().__init__(name)
        self._work = work

    def __setattr__(self, key: str, value: Any) -> None:
        super().__setattr__(key, value)
        if key == "seconds" and self._work is not None:
            self._work.written(self.name)


@dataclasses.dataclass
class _CountingReport(Report):
    work: Work = dataclasses.field(default_factory=Work)

    def stage(self, name: str) -> Stage:
        full = f"{self.role}/{name}"
        found = [stage for stage in self.stages if stage.name == full]
        if not found:
            self.stages.append(_CountingStage(full, self.work))
        return found[0] if found else self.stages[-1]

    def child(self, role: str) -> Report:
        plan = self.plan.setdefault(role, {})
        return _CountingReport(plan, self.stages, self.notes, role, self.progress, self.work)


def _further_formulas() -> dict[Any, Callable[..., int]]:
    """What torch does not count by itself: torchvision's deformable convolution, a convolution in this respect."""
    if sys.modules.get("torchvision") is None:
        return {}

    def deformable(inputs: Sequence[int], weight: Sequence[int], *_: Any, out_shape: Sequence[int], **__: Any) -> int:
        positions = out_shape[0] * out_shape[2] * out_shape[3]
        return 2 * positions * weight[0] * weight[1] * weight[2] * weight[3]

    return {torch.ops.torchvision.deform_conv2d: deformable}


def count_without_running(method: Method, shape: tuple[int, int, int], request: Request, dtype: str) -> dict[str, int]:
    """Floating-point operations of each stage for an LQ clip of ``shape``, on the meta device, where nothing is done.

    Raises:
        MethodError: the method needs values for that, such as a flow that it looks at.
    """
    method.setup("meta", dtype)
    work = Work()
    frames = to_float(torch.empty(shape[0], 3, *shape[1:], dtype=torch.uint8, device="meta"))
    try:
        with work.counter:
            report = work.report()
            if isinstance(method, DiffusionMethod):
                method.rehearse(frames, request, report)
            else:
                method.restore_float(frames, request)
            work.written(report.stage(method.name).name)  # what no other stage has taken
    except BenchError:
        raise
    except Exception as error:  # whatever a kernel without values raises
        raise MethodError(
            f"method '{method.method_id}' cannot be counted without running",
            got=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            action="leave out count=true: a measured run counts too",
        ) from error
    finally:
        method.close()
    return {name: count for name, count in work.flop.items() if count}


@torch.inference_mode()
def product_rate(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """Floating-point operations in a second that the device reaches in square matrix products of ``dtype``.

    Sides are doubled until one product takes long enough; then the best of five counts.
    """
    side, seconds = 512, 0.0
    while True:
        left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        out = torch.empty_like(left)
        times = []
        for _ in range(6):
            start = time.perf_counter()
            torch.mm(left, right, out=out)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - start)
            if times[-1] > 20 * LONG_ENOUGH.get(device.type, 0.1):
                break
        seconds = min(times[1:] or times)  # the first one starts libraries
        if seconds >= LONG_ENOUGH.get(device.type, 0.1) or side >= LARGEST_PRODUCT:
            return {"side": side, "seconds": seconds, "flop_per_second": 2 * side**3 / seconds}
        side *= 2


def stage_rows(
    runs: Sequence[Sequence[Stage]], flop: dict[str, int] | None, rate: float | None
) -> list[dict[str, Any]]:
    """The stages of equal restorations as one: median time, largest peak, operations and the rate they came at.

    Args:
        runs: stages of each measured restoration.
        flop: of each stage; ``None`` where they were not counted.
        rate: of the device's matrix products, in operations a second.
    """
    rows = []
    for stages in zip(*runs, strict=True):
        seconds = statistics.median(stage.seconds for stage in stages)
        peaks = [stage.peak_bytes for stage in stages if stage.peak_bytes is not None]
        count = None if flop is None else flop.get(stages[0].name, 0)
        reached = None if count is None or not seconds else count / seconds
        rows.append(
            {
                "name": stages[0].name,
                "seconds": seconds,
                "peak_bytes": max(peaks, default=None),
                "flop": count,
                "flop_per_second": reached,
                "fraction_of_product_rate": None if reached is None or not rate else reached / rate,
            }
        )
    return rows
