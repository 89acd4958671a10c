"""Run folders as typed objects: the only reader of ``run.json`` and ``samples/*.json``."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stvsr_bench.core.atomic import TEMPORARY_PREFIX, read_json
from stvsr_bench.core.dataset_card import OTHER_VARIANT
from stvsr_bench.core.errors import ResultError

SCHEMA_VERSION = 1
"""Newest version of the run folder's schema that this reader knows."""

FRAMES = ("all", "key", "interpolated")
"""Subsets of output frames that every metric is reported for."""


@dataclass(frozen=True)
class Value:
    """One number of one clip, or the reason why there is none.

    Attributes:
        value: finite number in the metric's unit, or ``None``.
        n: frames (or pairs) that it is the mean of.
        reason: why ``value`` is ``None``.
    """

    value: float | None
    n: int
    reason: str | None


@dataclass(frozen=True)
class Score:
    """One metric of one clip.

    Attributes:
        version: the metric's version.
        frames: value for each subset of :data:`FRAMES` that was scored; ``"all"`` is always there.
        per_frame: value by output frame (for pairs: by the first frame); ``None`` where it is not finite.
    """

    version: int
    frames: Mapping[str, Value]
    per_frame: Mapping[int, float | None]


@dataclass(frozen=True)
class StageTime:
    """Time and memory of one stage.

    Attributes:
        name: for example ``restore/bicubic``.
        seconds: wall time.
        peak_bytes: peak memory in bytes, or ``None`` where it is not measured.
        frames: output frames that the time covers.
    """

    name: str
    seconds: float
    peak_bytes: int | None
    frames: int


@dataclass(frozen=True)
class Restored:
    """What a method made of one sample.

    Attributes:
        output_hash: hash of the output's pixels.
        frames: output frames.
        height: rows.
        width: columns.
        stages: time and memory per stage.
        outputs: kind and path (relative to the run folder) of the stored output, or ``None`` when it was not kept.
        device: device that computed it.
        torch: version of torch.
        commit: code commit, or ``None`` outside a checkout.
    """

    output_hash: str
    frames: int
    height: int
    width: int
    stages: tuple[StageTime, ...]
    outputs: tuple[str, str] | None
    device: str
    torch: str
    commit: str | None

    @property
    def provenance(self) -> tuple[str, str, str | None]:
        """What must agree between the samples of a row: device, torch, code commit."""
        return (self.device, self.torch, self.commit)


@dataclass(frozen=True)
class SampleResult:
    """The stored result of one sample.

    Attributes:
        sample: the sample's name.
        status: ``ok``, ``failed`` or ``skipped``.
        reason: why it is not ok.
        restored: what was restored, ``None`` when it failed before.
        scored: first and one-past-last scored output frame.
        key_frames: output frames at the time of an LQ frame.
        scores: by metric id.
        notes: what a user should know about this sample.
    """

    sample: str
    status: str
    reason: str | None
    restored: Restored | None
    scored: tuple[int, int] | None
    key_frames: tuple[int, ...]
    scores: Mapping[str, Score]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """One method × dataset × protocol × seed and its samples.

    Attributes:
        folder: the run folder; never part of a table.
        run_id: the run's id; never part of a table.
        method: id of the method.
        method_version: its version.
        knobs: its resolved options.
        weights: its weights, as ``run.json`` states them.
        untrained: seeded instead of trained parameters, or the ``tiny`` preset.
        dataset: id with variant, ``vid4[first31]``.
        dataset_version: version of the dataset's card.
        dataset_kind: ``synthetic``, ``real`` or ``no_gt``.
        other_variant: the files are no known variant of the dataset.
        expected: clips that the complete dataset has.
        planned: names of this run's samples.
        protocol: id of the protocol.
        protocol_version: its version.
        metrics: ids of the metrics asked for.
        seed: the run's seed.
        dtype: the method's floating-point type.
        partial: why the run covers a part of the dataset on purpose, or ``None``.
        device: device of the run as configured.
        samples: results by sample name; a sample not yet done is absent.
    """

    folder: Path
    run_id: str
    method: str
    method_version: int
    knobs: Mapping[str, Any]
    weights: Mapping[str, Any]
    untrained: bool
    dataset: str
    dataset_version: int
    dataset_kind: str
    other_variant: bool
    expected: int
    planned: tuple[str, ...]
    protocol: str
    protocol_version: int
    metrics: tuple[str, ...]
    seed: int
    dtype: str
    partial: str | None
    device: str
    samples: Mapping[str, SampleResult]

    @property
    def missing(self) -> tuple[str, ...]:
        """Planned samples that have no result yet."""
        return tuple(name for name in self.planned if name not in self.samples)


@dataclass
class FoundRuns:
    """The runs below some folders, and what could not be read.

    Attributes:
        runs: readable runs, in the order of their folders' paths.
        problems: one error per unreadable file; it hides that run or sample only.
    """

    runs: list[Run] = field(default_factory=list)
    problems: list[ResultError] = field(default_factory=list)


def find_runs(folders: Iterable[str | os.PathLike[str]]) -> FoundRuns:
    """Read every run at or below ``folders``; a folder given twice, or inside another, counts once.

    Raises:
        ResultError: one of ``folders`` does not exist. Damaged and too new files do not raise: they are collected.
    """
    found = FoundRuns()
    for folder in sorted({run for given in folders for run in _run_folders(Path(given))}):
        try:
            found.runs.append(read_run(folder, found.problems))
        except ResultError as error:
            found.problems.append(error)
    return found


def _run_folders(root: Path) -> Iterator[Path]:
    if not root.is_dir():
        raise ResultError(
            f"no results folder '{root}'",
            accepted="folders at or below which runs lie",
            action="give another folder, or make runs with `stvsr-bench run`",
        )
    for path, folders, files in os.walk(root):
        if "run.json" in files:
            yield Path(path).resolve()
            folders.clear()
        folders[:] = [name for name in folders if not name.startswith(TEMPORARY_PREFIX)]


def read_run(folder: str | os.PathLike[str], problems: list[ResultError] | None = None) -> Run:
    """Read one run folder.

    Args:
        folder: the folder that holds ``run.json``.
        problems: receives one error per unreadable sample file, which then counts as not done; ``None``: raise.

    Raises:
        ResultError: ``run.json`` is absent, damaged or of a newer schema; or a sample file, without ``problems``.
    """
    folder = Path(folder)
    samples: dict[str, SampleResult] = {}
    for path in sorted((folder / "samples").glob("*.json")):
        if path.name.startswith(TEMPORARY_PREFIX):
            continue
        try:
            sample = _parse(path, _sample)
        except ResultError as error:
            if problems is None:
                raise
            problems.append(error)
        else:
            samples[sample.sample] = sample
    run: Run = _parse(folder / "run.json", lambda content: _run(content, folder, samples))
    return run


def _parse(path: Path, build: Any) -> Any:
    try:
        content = read_json(path)
    except OSError as error:
        raise ResultError(
            f"cannot read '{path}'", got=error.strerror or str(error), action="restore it or remove its run folder"
        ) from error
    try:
        version = int(content["schema_version"])
        if version <= SCHEMA_VERSION:
            return build(content)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        detail = f"no field {error}" if isinstance(error, KeyError) else str(error)
        raise ResultError(
            f"'{path}' is not a result of stvsr-bench",
            got=detail,
            accepted=f"the run folder schema, version {SCHEMA_VERSION}",
            action="delete it and run the same command again",
        ) from error
    raise ResultError(
        f"'{path}' was written by a newer stvsr-bench",
        got=f"schema version {version}",
        accepted=f"up to {SCHEMA_VERSION}",
        action="upgrade: pip install --upgrade stvsr-bench",
    )


def _run(content: Mapping[str, Any], folder: Path, samples: Mapping[str, SampleResult]) -> Run:
    method, dataset, protocol = content["method"], content["dataset"], content["protocol"]
    planned = tuple(str(name) for name in dataset["samples"])
    expected = dataset["expected"]
    return Run(
        folder=folder,
        run_id=str(content["run_id"]),
        method=str(method["id"]),
        method_version=int(method["version"]),
        knobs=dict(method["knobs"]),
        weights=dict(method.get("weights") or {}),
        untrained=bool(method["untrained"]) or method.get("preset") == "tiny",
        dataset=str(dataset["id"]),
        dataset_version=int(dataset["version"]),
        dataset_kind=str(dataset["kind"]),
        other_variant=dataset.get("variant") == OTHER_VARIANT,
        expected=len(planned) if expected is None else int(expected),
        planned=planned,
        protocol=str(protocol["id"]),
        protocol_version=int(protocol["version"]),
        metrics=tuple(str(name) for name in content["metrics"]),
        seed=int(content["seed"]),
        dtype=str(content["dtype"]),
        partial=content["partial"],
        device=str(content["device"]),
        samples=samples,
    )


def _sample(content: Mapping[str, Any]) -> SampleResult:
    reason, restore, scored = content["reason"], content.get("restore"), content.get("scored")
    if content["status"] not in ("ok", "failed", "skipped"):
        raise ValueError(f"status {content['status']!r}")
    return SampleResult(
        sample=str(content["sample"]),
        status=content["status"],
        reason=None if reason is None else str(reason["message"]),
        restored=None if restore is None else _restored(restore),
        scored=None if scored is None else (int(scored[0]), int(scored[1])),
        key_frames=tuple(int(i) for i in content.get("key_frames") or ()),
        scores={str(name): _score(score) for name, score in (content.get("scores") or {}).items()},
        notes=tuple(str(note) for note in content.get("notes") or ()),
    )


def _restored(content: Mapping[str, Any]) -> Restored:
    outputs = content["outputs"]
    return Restored(
        output_hash=str(content["output_hash"]),
        frames=int(content["frames"]),
        height=int(content["height"]),
        width=int(content["width"]),
        stages=tuple(
            StageTime(
                name=str(stage["name"]),
                seconds=float(stage["seconds"]),
                peak_bytes=None if stage["peak_bytes"] is None else int(stage["peak_bytes"]),
                frames=int(stage["frames"]),
            )
            for stage in content["stages"]
        ),
        outputs=None if outputs is None else (str(outputs["kind"]), str(outputs["path"])),
        device=str(content["device"]),
        torch=str(content["torch"]),
        commit=content["commit"],
    )


def _score(content: Mapping[str, Any]) -> Score:
    frames = {"all": _value(content)}
    frames.update({str(name): _value(subset) for name, subset in (content.get("subsets") or {}).items()})
    index, values = content.get("index") or (), content.get("values") or ()
    return Score(
        version=int(content["version"]),
        frames=frames,
        per_frame={int(i): _number(value) for i, value in zip(index, values, strict=True)},
    )


def _value(content: Mapping[str, Any]) -> Value:
    return Value(value=_number(content["value"]), n=int(content["n"]), reason=content["reason"])


def _number(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"a value that is not finite: {value!r}")
    return number
