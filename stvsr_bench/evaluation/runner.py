"""Running a plan: samples are claimed under locks, by this process or by several, and every result is kept."""

from __future__ import annotations

import multiprocessing
import os
import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from stvsr_bench.core.errors import BenchError, ResultError, WeightError
from stvsr_bench.core.locks import file_lock
from stvsr_bench.data.sample import SourceSample
from stvsr_bench.evaluation.diagnose import diagnosis_notes
from stvsr_bench.evaluation.plan import Plan, make_plan
from stvsr_bench.evaluation.progress import RunProgress
from stvsr_bench.evaluation.sample import SampleWork
from stvsr_bench.evaluation.store import RunStore
from stvsr_bench.evaluation.weights import get_ready, needed_weights
from stvsr_bench.weights.service import offline


@dataclass
class Outcome:
    """What a run did.

    Attributes:
        plan: the run.
        actions: sample name → ``done`` (nothing was left to do), ``scored``, ``restored`` or ``failed``.
        failures: sample name → why it failed.
        unscored: metric id → why its weights cannot be had; the run went on without it.
    """

    plan: Plan
    actions: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    unscored: dict[str, str] = field(default_factory=dict)

    @property
    def exit_status(self) -> int:
        """0 when every sample is ok and has every metric, 1 otherwise."""
        return 1 if self.failures or self.unscored else 0


Listener = Callable[[str, str, Any], None]
"""Called with ("step", sample, (what, done, total)) or ("sample", sample, (action, record summary))."""


def execute(plan: Plan, console: Console) -> Outcome:
    """Restore and score every sample of ``plan`` that is not up to date.

    Samples that another process works on are left to it; this one waits for them at the end, so that both finish
    with the same results.

    Raises:
        ResultError: the run folder cannot be used.
        WeightError: a weight of the method cannot be had, or those of every metric.
    """
    outcome = Outcome(plan)
    with offline(plan.config["offline"]):
        get_ready(needed_weights(plan.method), console)
        _leave_out(plan, outcome, console)
        _execute(plan, outcome, console)
    return outcome


def _leave_out(plan: Plan, outcome: Outcome, console: Console) -> None:
    """Take metrics whose weights cannot be had out of the run; its other numbers are worth having."""
    faults: list[WeightError] = []
    for info in plan.metrics:
        try:
            get_ready(info.weights, console)
        except WeightError as error:
            faults.append(error)
            outcome.unscored[info.id] = str(error)
    if len(faults) == len(plan.metrics):
        raise faults[0]
    plan.metrics = [info for info in plan.metrics if info.id not in outcome.unscored]


def _execute(plan: Plan, outcome: Outcome, console: Console) -> None:
    store = RunStore(plan)
    workers = min(plan.config["executor"]["workers"], len(plan.sources))
    with store.opened(), RunProgress(console, len(plan.sources)) as progress:

        def listen(event: str, sample: str, value: Any) -> None:
            if event == "step":
                progress.step(sample, *value)
            else:
                action, text, reason = value
                if sample not in outcome.actions or outcome.actions[sample] == "done":
                    outcome.actions[sample] = action
                    progress.sample_done(sample, text)
                if reason is not None:
                    outcome.failures[sample] = reason

        if workers > 1:
            _in_processes(plan, workers, listen)
        else:
            _work(plan, store, listen)


def _work(plan: Plan, store: RunStore, listen: Listener) -> None:
    """Work on every sample: first on those that nobody holds, then, waiting, on what others have not finished."""
    work = SampleWork(plan, store)
    left: list[SourceSample] = []
    began = time.time()
    try:
        for source in plan.sources:
            with file_lock(store.lock_file(source.name), wait=False) as held:
                if held:
                    _one(work, source, listen)
                else:
                    left.append(source)
        for source in left:
            with file_lock(store.lock_file(source.name)):
                failed = store.failed_since(source.name, began)
                if failed is not None:  # another process tried just now; trying again would fail again
                    listen("sample", source.name, ("failed", _summary("failed", failed, plan), _reason(failed)))
                else:
                    _one(work, source, listen)
    finally:
        work.close()


def _one(work: SampleWork, source: SourceSample, listen: Listener) -> None:
    action, record = work.run(source, lambda *step: listen("step", source.name, step))
    reason = _reason(record) if action == "failed" else None
    listen("sample", source.name, (action, _summary(action, record, work.plan), reason))


def _reason(record: dict[str, Any]) -> str:
    return str(record["reason"]["message"]) or str(record["reason"]["type"])


def _summary(action: str, record: dict[str, Any], plan: Plan) -> str:
    """Return one line about a finished sample."""
    if action == "failed":
        return f"FAILED: {_reason(record)}"
    restore = record["restore"]
    parts = []
    for info in plan.metrics[:3]:
        value = record["scores"][info.id]["value"]
        if value is not None:
            parts.append(f"{info.id} {value:.4f}")
    what = {"done": "already done", "scored": "scored stored outputs", "restored": "restored"}[action]
    seconds = record["timing"].get("restore_seconds")
    took = f" in {seconds:.1f} s" if action == "restored" and seconds is not None else ""
    size = f"{restore['lq']['frames']} → {restore['frames']} frames of {restore['width']}×{restore['height']}"
    warnings = "".join(f"; {note}" for note in diagnosis_notes(record.get("diagnosis")))
    return f"{what}{took}, {size}" + (f"; {', '.join(parts)}" if parts else "") + warnings


def _in_processes(plan: Plan, workers: int, listen: Listener) -> None:
    """Share the samples between ``workers`` processes; the locks settle who takes what."""
    context = multiprocessing.get_context("spawn")
    events: Any = context.Queue()
    threads = max(1, (os.cpu_count() or 1) // workers)
    config = {**plan.config, "metrics": {"ids": [info.id for info in plan.metrics]}}
    processes = [context.Process(target=_process, args=(config, threads, events), daemon=True) for _ in range(workers)]
    for process in processes:
        process.start()
    try:
        for event in _events(events, processes):
            listen(*event)
    except BaseException:
        for process in processes:
            process.terminate()
        raise
    finally:
        for process in processes:
            process.join()


def _events(events: Any, processes: list[Any]) -> Iterator[tuple[str, str, Any]]:
    running = len(processes)
    while running:
        try:
            event = events.get(timeout=1.0)
        except queue.Empty:
            dead = [p for p in processes if not p.is_alive() and p.exitcode != 0]
            if dead:
                raise ResultError(
                    "a worker process died",
                    got=f"exit code {dead[0].exitcode}",
                    action="run the same command again (finished samples are kept), with fewer executor.workers "
                    "if memory ran out",
                ) from None
            continue
        if event is None:
            running -= 1
        elif isinstance(event, BenchError):
            raise event
        else:
            yield event


def _process(config: dict[str, Any], threads: int, events: Any) -> None:
    """Run in a worker process: plan again from the configuration, then work as a single process would."""
    import torch

    torch.set_num_threads(threads)
    try:
        plan = make_plan(config)
        with offline(config["offline"]):
            _work(plan, RunStore(plan), lambda *event: events.put(event))
    except BenchError as error:
        events.put(ResultError(error.what, got=error.got, accepted=error.accepted, action=error.action))
    except KeyboardInterrupt:
        return
    events.put(None)
