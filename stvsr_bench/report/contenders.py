"""Contenders: runs of one method under one protocol, merged where they agree and kept apart where they do not."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from stvsr_bench.core.hashing import canonical_json, digest
from stvsr_bench.report.results import Run, SampleResult, Score


@dataclass(frozen=True, order=True)
class Setting:
    """What numbers are compared within: rows of another setting are never ranked against one another."""

    dataset: str
    dataset_version: int
    protocol: str
    protocol_version: int


@dataclass(frozen=True)
class Contender:
    """One method, with its options and seed, in one setting.

    Attributes:
        setting: dataset and protocol.
        method: id of the method.
        method_version: its version.
        options: what else fixes the numbers (knobs, weights, dtype), flat; paths are left out.
        seed: the runs' seed.
        untrained: seeded instead of trained parameters.
        partial: why only a part of the dataset was run, or ``None``.
        expected: clips of the complete dataset.
        metrics: metrics asked for.
        runs: the runs that were merged.
        samples: merged results by sample name.
        mixed: no single device, torch and code commit explains all samples.
        copy: 1, 2, … where runs of the same identity have different results, otherwise 0.
        settings: text that tells it from the other contenders of the same method in the same setting.
    """

    setting: Setting
    method: str
    method_version: int
    options: Mapping[str, str]
    seed: int
    untrained: bool
    partial: str | None
    expected: int
    metrics: tuple[str, ...]
    runs: tuple[Run, ...]
    samples: Mapping[str, SampleResult]
    mixed: bool
    copy: int
    settings: str = ""

    def cells(self) -> dict[tuple[str, int], dict[str, Score]]:
        """Return scores by sample name, in the order of names, for every metric and version."""
        cells: dict[tuple[str, int], dict[str, Score]] = defaultdict(dict)
        for name in sorted(self.samples):
            if self.samples[name].status == "ok":
                for metric, score in self.samples[name].scores.items():
                    cells[metric, score.version][name] = score
        return cells


def contenders(runs: Iterable[Run]) -> list[Contender]:
    """Merge ``runs`` into contenders, in an order that depends on their content alone.

    Runs of one identity (a copied folder, an added metric, a trial before the full run) become one contender when
    they agree on every clip that they share; otherwise each opinion is a contender of its own, numbered by ``copy``.
    """
    by_identity: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_identity[canonical_json(_identity(run))].append(run)
    found: list[Contender] = []
    for identity in sorted(by_identity):
        groups: list[list[Run]] = []
        for run in sorted(by_identity[identity], key=lambda r: (r.partial is not None, digest(_content(r)))):
            for group in groups:
                if all(_agree(run, other) for other in group):
                    group.append(run)
                    break
            else:
                groups.append([run])
        found += [_merge(group, number if len(groups) > 1 else 0) for number, group in enumerate(groups, 1)]
    return _told_apart(found)


def _identity(run: Run) -> list[Any]:
    return [
        [run.dataset, run.dataset_version, run.protocol, run.protocol_version],
        [run.method, run.method_version, run.seed, run.untrained],
        _options(run),
    ]


def _options(run: Run) -> dict[str, str]:
    options = {"dtype": run.dtype}
    _flatten(run.knobs, "", options)
    if run.weights:
        options["weights"] = digest(run.weights)[:8]
    return options


def _flatten(value: Any, prefix: str, into: dict[str, str]) -> None:
    """Spell out nested knobs as ``a.b = text``, without paths: where files lie is no part of a method's identity."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _flatten(inner, f"{prefix}.{key}" if prefix else str(key), into)
    elif isinstance(value, str):
        if not value.startswith(("/", "~", "./", "../")):
            into[prefix] = value
    else:
        into[prefix] = json.dumps(value, sort_keys=True)


def _content(run: Run) -> Any:
    """Return what two equal runs share whatever their folder, time and device: pixels and numbers."""
    return [
        sorted(run.planned),
        [
            [
                name,
                sample.status,
                sample.restored.output_hash if sample.restored else None,
                [[metric, s.version, _values(s)] for metric, s in sorted(sample.scores.items())],
            ]
            for name, sample in sorted(run.samples.items())
        ],
    ]


def _values(score: Score) -> list[tuple[str, float | None]]:
    return [(frames, value.value) for frames, value in sorted(score.frames.items())]


def _agree(a: Run, b: Run) -> bool:
    if a.partial is None and b.partial is None and set(a.planned) != set(b.planned):
        return False
    for name in a.samples.keys() & b.samples.keys():
        x, y = a.samples[name], b.samples[name]
        if x.status != "ok" or y.status != "ok":
            continue
        if x.restored and y.restored and x.restored.output_hash != y.restored.output_hash:
            return False
        for metric in x.scores.keys() & y.scores.keys():
            s, t = x.scores[metric], y.scores[metric]
            if s.version == t.version and _values(s) != _values(t):
                return False
    return True


def _merge(group: list[Run], copy: int) -> Contender:
    full = [run for run in group if run.partial is None]
    first = (full or sorted(group, key=lambda r: (-len(r.planned), r.partial or "")))[0]
    samples: dict[str, SampleResult] = {}
    provenance: dict[str, set[Any]] = defaultdict(set)
    for run in group:
        for name, sample in run.samples.items():
            known = samples.get(name)
            if known is None or (known.status != "ok" and sample.status == "ok"):
                samples[name] = sample
            elif sample.status == "ok":
                samples[name] = replace(known, scores=_newest(known.scores, sample.scores))
            if sample.status == "ok" and sample.restored:
                provenance[name].add(sample.restored.provenance)
    return Contender(
        setting=Setting(first.dataset, first.dataset_version, first.protocol, first.protocol_version),
        method=first.method,
        method_version=first.method_version,
        options=_options(first),
        seed=first.seed,
        untrained=first.untrained,
        partial=first.partial,
        expected=max(run.expected for run in full or group),
        metrics=tuple(sorted({metric for run in group for metric in run.metrics})),
        runs=tuple(group),
        samples=samples,
        mixed=bool(provenance) and not set.intersection(*provenance.values()),
        copy=copy,
    )


def _newest(a: Mapping[str, Score], b: Mapping[str, Score]) -> dict[str, Score]:
    return {**a, **{metric: s for metric, s in b.items() if metric not in a or s.version > a[metric].version}}


def _told_apart(found: list[Contender]) -> list[Contender]:
    """Give each contender the options in which it differs from its namesakes."""
    namesakes: dict[tuple[Setting, str], list[Contender]] = defaultdict(list)
    for contender in found:
        namesakes[contender.setting, contender.method].append(contender)
    named: list[Contender] = []
    for group in namesakes.values():
        options = [{**c.options, "version": str(c.method_version), "untrained": str(c.untrained)} for c in group]
        keys = sorted({key for option in options for key in option})
        differing = [key for key in keys if len({option.get(key) for option in options}) > 1]
        for contender, option in zip(group, options, strict=True):
            parts = [f"{key}={option.get(key, 'unset')}" for key in differing if key != "untrained"]
            parts += [f"copy {contender.copy}"] if contender.copy else []
            named.append(replace(contender, settings=", ".join(parts)))
    return sorted(named, key=lambda c: (c.setting, c.method, c.settings, c.seed, c.untrained))
