"""What ``--dry-run`` prints: the plan, sizes, licences, and what is missing."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stvsr_bench.core import registry
from stvsr_bench.core.errors import BenchError
from stvsr_bench.data.apply import apply_protocol
from stvsr_bench.data.sample import Sample
from stvsr_bench.evaluation.plan import Plan
from stvsr_bench.evaluation.store import RunStore
from stvsr_bench.evaluation.weights import needed_weights
from stvsr_bench.weights import service
from stvsr_bench.weights.known import describe


def headline(plan: Plan) -> str:
    """Return one line that says what a run is."""
    return f"{plan.method.method_id} on {plan.dataset.id} under {plan.protocol.id} (version {plan.protocol.version})"


def print_plan(plan: Plan, console: Console) -> int:
    """Print the plan.

    Returns:
        1 when a sample cannot be opened, 0 otherwise.
    """
    card = registry.methods()[plan.config["method"]["card"]].card
    data_card = registry.datasets()[plan.config["dataset"]["card"]].card
    expected = plan.dataset.expected
    facts = [
        ("method", f"{plan.method.method_id} (task {plan.method.task}, version {plan.method.version})"),
        ("licence", card.licence),
        ("dataset", f"{plan.dataset.id} (kind {plan.dataset.kind}; licence: {data_card.licence})"),
        ("where", str(plan.dataset.locate())),
        ("clips", f"{len(plan.sources)}" + ("" if expected is None else f" of {expected} expected")),
        ("protocol", f"{plan.protocol.id} version {plan.protocol.version}: {plan.protocol.explain()}"),
        ("metrics", ", ".join(info.id for info in plan.metrics)),
        *(("weight", text) for text in _weights(plan)),
        ("device", f"{plan.device}, {plan.dtype}, seed {plan.seed}"),
        ("results", str(plan.folder)),
    ]
    for key, value in facts:
        console.print(f"[bold]{key:9}[/bold] {escape(value)}", highlight=False, soft_wrap=True)
    for note in plan.notes:
        console.print(escape(f"note: {note}"), highlight=False, soft_wrap=True)
    return _print_samples(plan, console)


def _weights(plan: Plan) -> list[str]:
    """Return a line for each weight: id, size, licence, and whether it is here or where it would come from."""
    lines = []
    for weight in needed_weights(plan.method, plan.metrics):
        spec = service.weight_spec(weight)
        absent = f"absent: would be fetched from {' or '.join(channel.text for channel in spec.channels)}"
        lines.append(f"{describe(weight, spec)}: {'present' if service.state(weight) == 'present' else absent}")
    return lines


def _print_samples(plan: Plan, console: Console) -> int:
    table = Table("sample", "LQ frames", "LQ size", "output frames", "output size", "scored", "state")
    store = RunStore(plan)
    status, total = 0, 0
    notes: dict[str, list[str]] = {}
    for source in plan.sources:
        try:
            sample = apply_protocol(plan.protocol, source, generation=plan.generation)
            made_from = lq_origin(sample)
            record = store.load(source.name)
        except BenchError as error:
            status = 1
            table.add_row(escape(source.name), "–", "–", "–", "–", "–", "cannot run")
            notes.setdefault(str(error), []).append(source.name)
            continue
        height, width = sample.lq.height * sample.scale, sample.lq.width * sample.scale
        total += height * width * 3 * sample.out_frames
        for note in (*sample.notes, *([made_from] if made_from else [])):
            notes.setdefault(note, []).append(source.name)
        table.add_row(
            escape(source.name),
            str(len(sample.lq)),
            f"{sample.lq.width}×{sample.lq.height}",
            str(sample.out_frames),
            f"{width}×{height}",
            str(len(sample.scored)) if sample.gt is not None else "no GT",
            "to do" if record is None else str(record["status"]),
        )
    console.print(table)
    for note, names in notes.items():
        console.print(escape(f"{', '.join(names)}: {note}"), highlight=False, soft_wrap=True)
    console.print(f"output: {total / 2**20:.0f} MiB before compression", highlight=False)
    return status


def lq_origin(sample: Sample) -> str | None:
    """Say whether the sample's generated LQ set is there; nothing is made. ``None`` where LQ is not generated so.

    Raises:
        DataError: a set is there and is not as it was generated.
    """
    clip = sample.generated
    if clip is None:
        return None
    stored = clip.stored()
    if stored is not None:
        return "the LQ set is stored" + "".join(f"; {note}" for note in clip.version_notes(stored))
    return f"the LQ set will be made with {clip.degradation.id}@{clip.degradation.version} (or found) when it is read"
