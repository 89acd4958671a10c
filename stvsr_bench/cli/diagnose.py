"""``stvsr-bench diagnose``: what went wrong between outputs and their ground truth, before anyone trusts the scores."""

from __future__ import annotations

from pathlib import Path

import click

from stvsr_bench.cli.output import add_row, make_console, make_table, say
from stvsr_bench.core.paths import user_path


@click.command("diagnose")
@click.argument("outputs", metavar="OUTPUTS", type=click.Path(path_type=Path))
@click.option("--gt", required=True, type=click.Path(path_type=Path), help="Ground truth: a clip or a folder of clips.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write findings and estimates.")
def command(outputs: Path, gt: Path, json_file: Path | None) -> int:
    """Look for faults of the pipeline in OUTPUTS (a clip, or a folder of clips named like those of --gt).

    Estimates sub-pixel shift, offset in time, repeated, missing and superfluous frames, colour range, BT.601 taken for
    BT.709, exchanged red and blue, and lossy coding.

    Warnings are printed and nothing is refused: the exit status is 0 with and without them, 1 when a clip cannot be
    read, 2 when there is nothing to compare.
    """
    from stvsr_bench.core.atomic import write_json
    from stvsr_bench.core.errors import BenchError
    from stvsr_bench.evaluation.diagnose import diagnose_pairs, diagnosis_record, find_pairs

    console = make_console()
    pairs = find_pairs(user_path(outputs), user_path(gt))
    table = make_table("clip", "shift right", "shift down", "lag", "least change", "warnings")
    records: dict[str, object] = {}
    failed = 0
    for pair, found in diagnose_pairs(pairs):
        if isinstance(found, BenchError):
            failed += 1
            say(console, f"{pair.name}: cannot be diagnosed: {found}")
            records[pair.name] = {"error": str(found)}
            continue
        for finding in found.findings:
            say(console, f"{pair.name}: warning: {finding.text}")
        for note in found.notes:
            say(console, f"{pair.name}: note: {note}")
        figures = [_figure(found.measured.get(key)) for key in ("shift_x", "shift_y", "lag", "least_change")]
        add_row(table, [pair.name, *figures, ", ".join(sorted(found.kinds)) or "none"])
        records[pair.name] = diagnosis_record(found)
    for note in pairs.notes:
        say(console, f"note: {note}")
    console.print(table)
    say(console, "shifts in pixels, lag in frames; least change: of an output frame, as a part of the change of its GT")
    if json_file is not None:
        write_json(user_path(json_file), {"clips": records, "notes": list(pairs.notes)})
        say(console, f"wrote {json_file}")
    return 1 if failed else 0


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"
