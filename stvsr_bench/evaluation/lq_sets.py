"""What ``prepare`` does under a protocol: check that every clip fits it, and make, export and import its LQ sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from stvsr_bench.core.errors import BenchError, ConfigError, IncompatibleError
from stvsr_bench.data.apply import apply_protocol, makes_sets
from stvsr_bench.data.dataset import Dataset
from stvsr_bench.data.exchange import Manifest, export_sets, import_sets
from stvsr_bench.data.generate import Made, generate
from stvsr_bench.data.generated import Generation
from stvsr_bench.data.integrity import Checked
from stvsr_bench.data.protocol import AUTO, Protocol
from stvsr_bench.data.sample import SourceSample
from stvsr_bench.evaluation.plan import named_protocol
from stvsr_bench.evaluation.progress import RunProgress
from stvsr_bench.video.hashed import files_state

Say = Callable[[str], None]


def take_over(folder: Path, say: Say) -> None:
    """Import the LQ sets of an exported folder and say what became of them.

    Raises:
        DataError: the export was edited or is of another version, or a set of other pixels is there already.
        ResultError: the sets cannot be written.
    """
    done = import_sets(folder)
    new = sum(one.action == "imported" for one in done)
    say(f"imported {new} LQ sets from {folder}; {len(done) - new} were there already with the same pixels")


def prepare_sets(
    config: dict[str, Any],
    dataset: Dataset,
    sources: Sequence[SourceSample],
    checked: Sequence[Checked],
    export: Path | None,
    console: Console,
    again: bool = False,
) -> int:
    """Check that the protocol fits every clip, make the LQ sets it stores, and export them if asked.

    Args:
        config: the resolved configuration; its protocol and workers count.
        dataset: the dataset.
        sources: the clips to work on.
        checked: what decoding them gave.
        export: folder to write the LQ sets to, or ``None``.
        console: where progress and findings go.
        again: make stored sets again with this machine's libraries and say how far they agree.

    Returns:
        1 if a clip does not fit, or its LQ set cannot be made; else 0.

    Raises:
        IncompatibleError: the dataset does not hold what the protocol needs.
        ConfigError: an export is asked for and the protocol stores no LQ sets.
        DataError: the export's folder holds something else.
    """

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    protocol = None if config["protocol"]["id"] == AUTO else named_protocol(config["protocol"])
    if protocol is None or (export is not None and not makes_sets(protocol)):
        raise ConfigError(
            "there are no LQ sets to export",
            got="no protocol" if protocol is None else f"protocol={protocol.id}, which stores none",
            accepted="a protocol whose degradation works on whole clips",
            action="add protocol=NAME; see `stvsr-bench list protocols`",
        )
    if protocol.needs not in dataset.roles:
        raise IncompatibleError(
            f"dataset '{dataset.id}' does not fit protocol '{protocol.id}'",
            got=f"a dataset that holds {' and '.join(sorted(dataset.roles)) or 'nothing'}",
            accepted=f"a dataset that holds {protocol.needs}",
            action="name another protocol or dataset",
        )
    for note in dataset.check(protocol):
        if note not in dataset.notes:
            say(f"note: {note}")
    if makes_sets(protocol):
        generation = Generation.of(dataset)
        for one in checked:  # the sets are found by these hashes; nothing is decoded again for them
            if one.entry is not None and one.item.pixels is not None:
                generation.remember_hash(files_state(one.item.pixels), one.entry.sha256)
        return _make(config["executor"]["workers"], generation, sources, protocol, export, console, say, again)
    faults = _misfits(protocol, sources)
    for error in faults:
        say(f"not usable under {protocol.id}: {error}")
    say(f"{protocol.id}: {len(sources) - len(faults)} of {len(sources)} clips can be used; nothing has to be stored")
    return int(bool(faults))


def _misfits(protocol: Protocol, sources: Sequence[SourceSample]) -> list[BenchError]:
    found = []
    for source in sources:
        try:
            apply_protocol(protocol, source)
        except BenchError as error:
            found.append(error)
    return found


def _make(
    workers: int,
    generation: Generation,
    sources: Sequence[SourceSample],
    protocol: Protocol,
    export: Path | None,
    console: Console,
    say: Say,
    again: bool,
) -> int:
    with RunProgress(console, len(sources)) as progress:

        def listen(made: Made) -> None:
            if made.stored is not None and made.action == "made":
                record = made.stored.record
                text = f"{record.frames} LQ frames, sha256 {record.lq_hash[:12]}…, {made.seconds:.1f} s"
                progress.sample_done(made.clip, text)
            elif made.error is not None:
                progress.sample_done(made.clip, f"failed: {made.error}")
            else:
                progress.finished += 1

        made = generate(generation, sources, protocol, workers, listen, again)
    for one in made:
        for note in one.notes:
            say(f"note: {one.clip}: {note}")
        if one.agreement is not None:
            say(f"{one.clip}: the stored LQ set and one made again here: {one.agreement.text}")
    stored = [one.stored for one in made if one.stored is not None]
    failed = len(made) - len(stored)
    new = sum(one.action == "made" for one in made)
    say(f"{protocol.id}: {new} LQ sets made, {len(stored) - new} there already, {failed} failed, in {generation.root}")
    if stored:
        say(f"set id {Manifest.of(one.record for one in stored).id} (the same files and versions give the same id)")
    if export is not None and stored and not failed:
        export_sets(stored, export)
        say(f"exported to {export}; others take it over with `stvsr-bench prepare … --import DIR`")
    elif export is not None:
        say("nothing was exported, as LQ sets are missing")
    return int(failed > 0)
