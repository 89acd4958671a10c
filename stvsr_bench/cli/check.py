"""``stvsr-bench check``: has any number of the baselines changed?"""

from __future__ import annotations

from pathlib import Path

import click

from stvsr_bench.cli.output import make_console, say


@click.command("check")
@click.option("--golden", type=click.Path(path_type=Path), help="Golden file (default: the one that ships).")
@click.option("--update", "reason", metavar="REASON", help="Set the golden values from this run, and say why.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep the runs in this empty folder.")
def command(golden: Path | None, reason: str | None, keep: Path | None) -> int:
    """Re-run the demo suite of the baselines and compare with results/golden/demo.json.

    Exit status: 0 when nothing moved beyond the stated tolerances, 1 otherwise.
    """
    from stvsr_bench.evaluation.gate import check, golden_path

    console = make_console()
    differences = check(console, golden=golden, reason=reason, keep=keep)
    for difference in differences:
        say(console, str(difference))
    if reason is not None:
        say(console, f"golden values set: {golden_path(golden)}")
    elif differences:
        say(console, f"{len(differences)} values differ from {golden_path(golden)}")
    else:
        say(console, f"no value differs from {golden_path(golden)}")
    return 1 if differences else 0
