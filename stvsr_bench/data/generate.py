"""Making the LQ sets of a dataset ahead of time, clip by clip or in several processes."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Literal

import cv2
import torch

from stvsr_bench.core.errors import BenchError, ResultError
from stvsr_bench.data.agreement import Agreement, reproduce
from stvsr_bench.data.apply import apply_protocol, makes_sets
from stvsr_bench.data.generated import Generation
from stvsr_bench.data.generated_store import StoredSet
from stvsr_bench.data.protocol import Protocol
from stvsr_bench.data.sample import SourceSample


@dataclass(frozen=True)
class Made:
    """What became of one clip.

    Attributes:
        clip: its name in the dataset.
        action: ``made`` now, ``stored`` already (every pixel as it was generated), or ``failed``.
        stored: the set; ``None`` where it failed.
        error: why it failed.
        seconds: wall time.
        notes: what a user should know of a set that was found, or of others beside a set that was made.
        agreement: how far a stored set agrees with one made again here; ``None`` where that was not asked for.
    """

    clip: str
    action: Literal["made", "stored", "failed"]
    stored: StoredSet | None
    error: BenchError | None
    seconds: float
    notes: tuple[str, ...] = ()
    agreement: Agreement | None = None


def generate(
    generation: Generation,
    sources: Sequence[SourceSample],
    protocol: Protocol,
    workers: int = 1,
    listen: Callable[[Made], None] | None = None,
    again: bool = False,
) -> list[Made]:
    """Make the LQ set of every clip that has none; pixels and records depend on neither workers nor order.

    A clip that fails does not stop the others. A second process may work on the same clips: each set is made once.

    Args:
        generation: where the dataset's sets lie: ``Generation.of(dataset)``.
        sources: the clips.
        protocol: whose sets; one that stores none (``makes_sets``) gives an empty list.
        workers: processes; one means this one.
        listen: told of every clip as soon as it is finished.
        again: make stored sets again with this machine's libraries and say how far they agree; nothing is replaced.

    Returns:
        What became of every clip, in the order of ``sources``.

    Raises:
        ResultError: a worker process died.
    """
    if not makes_sets(protocol):
        return []
    done: dict[int, Made] = {}
    for index, made in _work(generation, sources, protocol, again, min(workers, len(sources))):
        done[index] = made
        if listen is not None:
            listen(made)
    return [done[index] for index in range(len(sources))]


def _work(
    generation: Generation, sources: Sequence[SourceSample], protocol: Protocol, again: bool, workers: int
) -> Iterator[tuple[int, Made]]:
    if workers <= 1:
        for index, source in enumerate(sources):
            yield index, _one(generation, source, protocol, again)
        return
    # Spawned, as torch and the codecs do not survive a fork once they have threads.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_single_thread)
    try:
        futures: dict[Future[Made], int] = {
            pool.submit(_one, generation, source, protocol, again): index for index, source in enumerate(sources)
        }
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise ResultError(
            "a worker process died while it made an LQ set",
            got=str(error),
            action="run the same command again (finished sets are kept), with fewer executor.workers if memory ran out",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _single_thread() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _one(generation: Generation, source: SourceSample, protocol: Protocol, again: bool) -> Made:
    began = time.perf_counter()
    try:
        clip = apply_protocol(protocol, source, generation=generation).generated
        assert clip is not None  # `generate` has asked
        stored = clip.ensure()
        if clip.made:
            beside = clip.beside()
            notes = (f"sets of other pixels or frames of this clip lie beside it: {beside}",) if beside else ()
            return Made(source.name, "made", stored, None, time.perf_counter() - began, notes)
        stored.verify()
        agreement = reproduce(stored, clip.gt, clip.degradation) if again else None
    except BenchError as error:
        return Made(source.name, "failed", None, error, time.perf_counter() - began)
    seconds = time.perf_counter() - began
    return Made(source.name, "stored", stored, None, seconds, clip.version_notes(stored), agreement)
