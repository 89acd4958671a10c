"""The run folder: its files, the two keys that decide what is done again, and what is already there."""

from __future__ import annotations

import datetime
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stvsr_bench.core.atomic import TEMPORARY_PREFIX, read_json, write_json
from stvsr_bench.core.environment import code_state, machine, package_versions
from stvsr_bench.core.errors import ResultError
from stvsr_bench.core.hashing import digest
from stvsr_bench.core.locks import file_lock, shared_lock
from stvsr_bench.core.slug import slug
from stvsr_bench.evaluation.plan import SCHEMA_VERSION, Plan

if TYPE_CHECKING:
    from stvsr_bench.data.sample import Sample

OUTPUT_SUFFIX = {"png": "", "ffv1": ".mkv"}


class RunStore:
    """Reads and writes one run folder.

    Args:
        plan: the run.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.folder = plan.folder

    def sample_file(self, name: str) -> Path:
        """Return the result file of a sample."""
        return self.folder / "samples" / f"{slug(name)}.json"

    def output_path(self, name: str, kind: str) -> Path:
        """Return where a sample's output frames lie: a folder of PNG files or one FFV1 file."""
        return self.folder / "outputs" / f"{slug(name)}{OUTPUT_SUFFIX[kind]}"

    def lock_file(self, name: str) -> Path:
        """Return the lock that a process holds while it works on a sample."""
        return self.folder / "locks" / f"{slug(name)}.lock"

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Write ``run.json``, and sweep what killed processes left behind unless another process is at work.

        Raises:
            ResultError: the folder holds a run of a newer schema, or cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = self.folder / "locks" / "run.lock"
            with file_lock(lock, wait=False) as alone:
                if alone:
                    self._sweep()
            with shared_lock(lock):
                self._write_run()
                yield
        except OSError as error:
            raise ResultError(
                f"the run folder '{self.folder}' cannot be used",
                got=error.strerror or str(error),
                accepted="a writable folder with free space",
                action="choose another with results_dir=…, or free space and run the same command again",
            ) from error

    def _sweep(self) -> None:
        for path in [*self.folder.glob(f"{TEMPORARY_PREFIX}*"), *self.folder.glob(f"*/{TEMPORARY_PREFIX}*")]:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def _write_run(self) -> None:
        path = self.folder / "run.json"
        created = None
        if path.is_file():
            old = read_json(path)
            check_schema(old, path)
            created = old.get("created")
        write_json(path, {**run_record(self.plan), "created": created or _now()})

    def load(self, name: str) -> dict[str, Any] | None:
        """Return a sample's stored result, or ``None``.

        Raises:
            ResultError: the file is damaged or of a newer schema.
        """
        path = self.sample_file(name)
        if not path.is_file():
            return None
        record: dict[str, Any] = read_json(path)
        check_schema(record, path)
        return record

    def failed_since(self, name: str, moment: float) -> dict[str, Any] | None:
        """Return a sample's record if it says that the sample failed after ``moment`` (seconds since the epoch)."""
        path = self.sample_file(name)
        if not path.is_file() or path.stat().st_mtime < moment:
            return None
        record = self.load(name)
        return record if record is not None and record["status"] == "failed" else None

    def save(self, name: str, record: dict[str, Any]) -> None:
        """Write a sample's result, whole or not at all."""
        write_json(self.sample_file(name), record)

    def drop_outputs(self, name: str, keep: str | None) -> None:
        """Remove outputs of a sample that are not of the kind ``keep``."""
        for kind in OUTPUT_SUFFIX:
            path = self.output_path(name, kind)
            if kind == keep or not os.path.lexists(path):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def check_schema(record: dict[str, Any], path: Path) -> None:
    """Refuse a result file that a newer stvsr-bench wrote.

    Raises:
        ResultError: the file's schema version is newer, or missing.
    """
    version = record.get("schema_version") if isinstance(record, dict) else None
    if not isinstance(version, int):
        raise ResultError(
            f"'{path}' is not a result of stvsr-bench",
            got=f"schema_version {version!r}",
            action="move it away and run the same command again",
        )
    if version > SCHEMA_VERSION:
        raise ResultError(
            f"'{path}' was written by a newer stvsr-bench",
            got=f"schema_version {version}",
            accepted=f"schema_version up to {SCHEMA_VERSION}",
            action="upgrade stvsr-bench, or choose another results_dir",
        )


def run_record(plan: Plan) -> dict[str, Any]:
    """Return the content of ``run.json``, schema version first."""
    method, dataset = plan.method, plan.dataset
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": plan.run_id,
        "method": {
            "id": method.method_id,
            "name": method.name,
            "version": method.version,
            "task": method.task,
            "knobs": method.identity(),
            "untrained": bool(method.untrained),
            "preset": method.preset,
            "weights": method.weights_hashes(),
        },
        "dataset": {
            "id": dataset.id,
            "name": dataset.name,
            "variant": dataset.variant,
            "kind": dataset.kind,
            "version": dataset.version,
            "expected": dataset.expected or len(dataset.sources()),
            "unranked": dataset.unranked,
            "samples": [source.name for source in plan.sources],
        },
        "protocol": plan.protocol.model_dump(mode="json"),
        "metrics": [info.id for info in plan.metrics],
        "seed": plan.seed,
        "dtype": plan.dtype,
        "partial": plan.partial,
        "notes": plan.notes,
        "config": plan.config,
        "code": code_state(),
        "packages": package_versions(),
        **machine(),
        "device": plan.device,
    }


def restore_key(plan: Plan, name: str, lq_hash: str) -> str:
    """Return the key of a restoration: everything that moves its pixels, and nothing else."""
    method = plan.method
    return digest(
        {
            "method": [method.method_id, method.version, method.identity(), method.weights_hashes()],
            "sample": [name, method.sample_key(name)],
            "protocol": [plan.protocol.id, plan.protocol.version, degradation_version(plan.protocol.degradation)],
            "lq": lq_hash,
            "seed": plan.seed,
            "dtype": plan.dtype,
        }
    )


def degradation_version(name: str | None) -> list[str | int] | None:
    """Return id and version of a degradation, or ``None`` for none."""
    if name is None:
        return None
    from stvsr_bench.degradation.registry import DEGRADATIONS

    return [name, DEGRADATIONS[name].version]


def score_key(output_hash: str, gt_hash: str | None, metric: Any, sample: Sample) -> str:
    """Return the key of one metric's values for one output."""
    parts = [output_hash, gt_hash, metric.id, metric.version]
    frames = [[sample.scored.start, sample.scored.stop], list(sample.key_frames)]
    # No pair is scored across a window's end, so windows count; other protocols keep the keys that they had.
    windows = [] if sample.windows is None else [[[out.start, out.stop] for out in sample.outputs]]
    return digest([*parts, *frames, *windows])


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
