"""Restoring a sample whose protocol cuts it into windows: each is restored on its own, and all of them in a row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from stvsr_bench.core.seeding import derive_seed
from stvsr_bench.data.sample import Sample
from stvsr_bench.methods.base import Method, Report, Request
from stvsr_bench.video.clip import Clip, Frames


def restore_sample(method: Method, sample: Sample, lq: Clip, request: Request, report: Report) -> Iterator[Frames]:
    """Yield the output frames of ``sample`` in order.

    Without windows this is ``method.restore`` of the whole clip. With windows the method gets the LQ frames of one
    window at a time, as a clip of its own, and a seed of its own, so that no window depends on another one.

    Args:
        method: set up.
        sample: says which frames belong together.
        lq: the sample's LQ clip, as it is to be read.
        request: factors and seed of the whole sample.
        report: filled while the blocks are taken: times are sums over the windows, memory is the most of any.
    """
    if sample.windows is None:
        yield from method.restore(lq, request, report)
        return
    plans: list[dict[str, Any]] = []
    for number, (inputs, outputs) in enumerate(zip(sample.inputs, sample.outputs, strict=True)):
        one = Report(role=report.role, progress=report.progress)
        part = replace(
            request,
            seed=derive_seed(request.seed, f"window {number}"),
            first_frame=outputs.start,
            sample_frames=sample.out_frames,
        )
        yield from method.restore(lq.select(inputs), part, one)
        _add(report, one)
        plans.append(one.plan)
    same = all(plan == plans[0] for plan in plans)
    report.plan.update(plans[0] if same else {"each": plans}, sequences=len(plans))


def _add(report: Report, one: Report) -> None:
    """Add what one window took to ``report``."""
    for stage in one.stages:
        total = next((known for known in report.stages if known.name == stage.name), None)
        if total is None:
            report.stages.append(replace(stage))
            continue
        total.seconds += stage.seconds
        total.frames += stage.frames
        if stage.peak_bytes is not None:
            total.peak_bytes = max(total.peak_bytes or 0, stage.peak_bytes)
    report.notes.extend(note for note in one.notes if note not in report.notes)
