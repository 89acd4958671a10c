"""The ``prepare`` command behind the command line: find, compare, decode and hash a dataset, make its LQ sets."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from stvsr_bench.core import registry
from stvsr_bench.core.errors import ConfigError, DataError, brief
from stvsr_bench.core.hashing import digest
from stvsr_bench.core.slug import slug
from stvsr_bench.data.dataset import Dataset
from stvsr_bench.data.decoded import manifests_root, recall, remember
from stvsr_bench.data.factory import build_dataset
from stvsr_bench.data.integrity import Checked, decode, twins, usable_cpus
from stvsr_bench.data.inventory import Item, inventory
from stvsr_bench.data.manifest import Manifest, differences, read_manifest, write_manifest
from stvsr_bench.data.protocol import AUTO
from stvsr_bench.data.sample import SourceSample
from stvsr_bench.data.selection import OPTIONS, Selection
from stvsr_bench.evaluation.command import run_jobs
from stvsr_bench.evaluation.lq_sets import prepare_sets, take_over
from stvsr_bench.evaluation.plan import check_options
from stvsr_bench.evaluation.progress import RunProgress

Say = Callable[[str], None]


@dataclass(frozen=True)
class Wishes:
    """What the options of ``stvsr-bench prepare`` ask for.

    Attributes:
        verify: manifest to compare every pixel with.
        manifest: where to write the manifest; default: below the data root.
        export: folder to write the protocol's LQ sets to.
        take: exported folder to take LQ sets from.
    """

    verify: Path | None = None
    manifest: Path | None = None
    export: Path | None = None
    take: Path | None = None


def prepare_command(arguments: Sequence[str], wishes: Wishes, console: Console) -> int:
    """Prepare what the arguments of ``stvsr-bench prepare`` ask for.

    Args:
        arguments: overrides and Hydra's own options, without a method.
        wishes: the command's own options.
        console: where progress and findings go.

    Returns:
        The exit status: 0 all ok, 1 a clip is broken or differs, 2 a job of a sweep could not start.

    Raises:
        BenchError: the options are wrong, or the only job cannot start.
    """
    for argument in arguments:
        if re.match(r"\+*method[.=@]", argument):
            raise ConfigError(
                "prepare takes no method",
                got=argument,
                accepted="a dataset, and protocol=NAME where its LQ is to be made or checked too",
                action="leave it out; protocol=auto depends on a method, so name the protocol",
            )
    return run_jobs(["~method", *arguments], console, partial(prepare, wishes=wishes))


def prepare(config: dict[str, Any], console: Console, wishes: Wishes) -> int:
    """Prepare one dataset and return the exit status: 0 all ok, 1 a clip is broken or differs from a manifest.

    Args:
        config: the resolved configuration.
        console: where progress and findings go.
        wishes: the command's own options.

    Raises:
        DataError: the dataset is absent or laid out in an unknown way, or a manifest cannot be used.
        ConfigError: an option has a value that is not accepted.
    """
    check_options(config)
    options = config["dataset"]
    selection = Selection.of(options)
    if selection.frames is not None:
        raise ConfigError(
            "prepare looks at whole clips", got=f"dataset.frames={selection.frames}", action="leave dataset.frames out"
        )
    dataset = build_dataset(options["card"], {k: v for k, v in options.items() if k not in ("card", *OPTIONS)})
    if (absent := dataset.missing()) is not None:
        raise absent
    sources, part = selection.apply(dataset.sources(), dataset.name)
    expected = _expectations(dataset, wishes)  # before anything takes time
    say = partial(_say, console)
    console.print(f"[bold]{escape(_headline(dataset, sources))}[/bold]", highlight=False, soft_wrap=True)
    for note in dataset.notes:
        say(f"note: {note}")
    items = inventory(dataset, sources)
    if config["dry_run"]:
        return _list_items(items, say)
    checked = _decode(items, console, again=wishes.verify is not None)
    status = _report(dataset, checked, part, say)
    status |= _compare(dataset, checked, sources, expected, part, wishes, say)
    if wishes.take is not None:
        take_over(wishes.take, say)
    if config["protocol"]["id"] != AUTO or wishes.export is not None:
        status |= prepare_sets(config, dataset, sources, checked, wishes.export, console, wishes.take is not None)
    return status


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _headline(dataset: Dataset, sources: Sequence[SourceSample]) -> str:
    of = f" of {dataset.expected}" if dataset.expected is not None else ""
    return f"{dataset.id}: {len(sources)}{of} clips in {dataset.locate()}, layout {dataset.layout.form}"


def _list_items(items: Sequence[Item], say: Say) -> int:
    for item in items:
        clip = item.pixels
        what = str(item.error) if clip is None else f"{len(clip)} frames of {clip.width}×{clip.height}"
        say(f"{item.label}: {what}")
    say("dry run: nothing was decoded")
    return int(any(item.pixels is None for item in items))


def _decode(items: Sequence[Item], console: Console, again: bool) -> list[Checked]:
    """Decode what was not decoded in its present state before; ``again`` decodes everything."""
    known = {} if again else {item: found for item in items if (found := recall(item)) is not None}
    unknown = [item for item in items if item not in known]
    began = time.perf_counter()
    fresh: dict[Item, Checked] = {}
    if unknown:
        with RunProgress(console, len(unknown)) as progress:
            for checked in decode(unknown, listen=progress.frames):
                fresh[checked.item] = checked
                remember(checked)
                progress.sample_done(checked.item.label, _outcome(checked))
    seconds = time.perf_counter() - began
    frames = sum(len(item.pixels) for item in unknown if item.pixels is not None)
    if frames:
        speed = f"{frames} frames in {seconds:.1f} s ({frames / seconds:.0f} a second, {usable_cpus()} threads)"
        _say(console, f"decoded and hashed {speed}")
    if known:
        _say(console, f"{len(known)} of {len(items)} were decoded before and their files have not changed since")
    return [known.get(item) or fresh[item] for item in items]


def _outcome(checked: Checked) -> str:
    if checked.entry is None:
        return f"{len(checked.faults)} faults"
    entry = checked.entry
    return f"{entry.frames} frames of {entry.width}×{entry.height}, sha256 {entry.sha256[:12]}…"


def _report(dataset: Dataset, checked: Sequence[Checked], part: str | None, say: Say) -> int:
    """Print faults and warnings and whether the dataset is whole; return 1 if a clip is broken."""
    for one in checked:
        for warning in one.warnings:
            say(f"warning: {one.item.label}: {warning}")
    for warning in twins(checked):
        say(f"warning: {warning}")
    for warning in _lq_warnings(dataset):
        say(f"warning: {warning}")
    broken = [one for one in checked if one.faults]
    for one in broken:
        for fault in one.faults:
            say(f"broken: {one.item.label}: {fault}")
    if part is not None:
        say(f"a part of the dataset ({part}): nothing is said about the rest")
    elif dataset.unranked is not None:
        say(f"incomplete: {dataset.unranked}; results of it are never ranked")
    elif not broken:
        say("complete: every clip and frame of the card is here" if dataset.card.variants else "every frame is whole")
    return int(bool(broken))


def _lq_warnings(dataset: Dataset) -> list[str]:
    """Say which clips a protocol that reads LQ from disk could not use, and why."""
    faults = {source.name: source.errors["lq"] for source in dataset.sources() if "lq" in source.errors}
    lonely = [name for name in faults if not dataset.layout.clips[name].lq]
    found = [f"no LQ on disk of {brief(lonely)}: protocols given-… cannot use these clips"] if lonely else []
    others = dict.fromkeys(str(error) for name, error in faults.items() if name not in lonely)
    return found + [f"protocols given-… cannot be used as it is: {text}" for text in others]


@dataclass(frozen=True)
class _Expected:
    """A manifest that the files are compared with, and what it is."""

    path: Path
    manifest: Manifest
    what: str


def _own_path(dataset: Dataset, wishes: Wishes) -> Path:
    """Where the manifest of these files lies; folders of the same name by different users' clips are kept apart."""
    if wishes.manifest is not None:
        return wishes.manifest
    mark = f"-{digest(str(dataset.locate()))[:8]}" if dataset.card.kind is None else ""
    return manifests_root() / f"{slug(dataset.files_id)}{mark}.csv"


def _expectations(dataset: Dataset, wishes: Wishes) -> list[_Expected]:
    """Read the manifests that the files are to be compared with: asked for, shipped with the card, written before.

    Raises:
        DataError: one cannot be read, or the one asked for is of another dataset.
    """
    found = []
    own = _own_path(dataset, wishes)
    if wishes.verify is not None:
        manifest = read_manifest(wishes.verify)
        if dataset.card.kind is not None and manifest.name != dataset.name:
            raise DataError(
                f"the manifest '{wishes.verify}' is of another dataset",
                got=manifest.dataset,
                accepted=dataset.name,
                action=f"pass the manifest of {dataset.name}, or dataset={manifest.name}",
            )
        found.append(_Expected(wishes.verify, manifest, "the manifest"))
    shipped = registry.datasets()[dataset.card.name].folder / "manifest.csv"
    if shipped.is_file() and shipped != wishes.verify:
        manifest = read_manifest(shipped)
        if manifest.dataset == dataset.files_id:
            found.append(_Expected(shipped, manifest, "the manifest that ships with the card"))
    if own.exists() and own != wishes.verify and (wishes.verify is None or wishes.manifest is not None):
        found.append(_Expected(own, read_manifest(own), "the manifest written before"))
    return found


def _compare(
    dataset: Dataset,
    checked: Sequence[Checked],
    sources: Sequence[SourceSample],
    expected: Sequence[_Expected],
    part: str | None,
    wishes: Wishes,
    say: Say,
) -> int:
    """Compare with every manifest, print each difference, write the manifest where there is none; 1 if any differs."""
    entries = tuple(one.entry for one in checked if one.entry is not None)
    found = Manifest(dataset.files_id, dataset.card.version, entries)
    broken = {(one.item.clip, one.item.role) for one in checked if one.entry is None}
    status = 0
    for other in expected:
        manifest = other.manifest
        if part is not None:
            manifest = manifest.limited_to(dataset.canonical(source.name) for source in sources)
        faults = [d for d in differences(manifest, found) if (d.clip, d.role) not in broken]
        if not faults and not broken:
            say(f"equal to {other.what}: {other.path}")
            continue
        status = 1
        for fault in faults:
            say(f"differs from {other.what}: {fault}")
        if faults:
            say(f"{len(faults)} differences from {other.path}")
            if other.manifest.dataset != dataset.files_id:
                say(f"it was written for {other.manifest.dataset}; these files are {dataset.files_id}")
            if other.what == "the manifest written before":
                say("nothing was overwritten; if the change is meant, delete that file and run the same command again")
    own = _own_path(dataset, wishes)
    if broken:
        say("no manifest was written, as clips are broken")
    elif part is not None:
        say("no manifest was written, as this is a part of the dataset")
    elif (wishes.verify is None or wishes.manifest is not None) and not own.exists():
        write_manifest(own, found)
        say(f"manifest: {own}")
    return status
