"""``stvsr-bench prepare``: is a dataset whole, and what are its pixels?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stvsr_bench.cli.output import make_console
from stvsr_bench.core.paths import user_path


@click.command(
    "prepare",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": ["-h", "--help"]},
)
@click.argument("overrides", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--verify",
    metavar="MANIFEST",
    type=click.Path(path_type=Path),
    help="Decode everything again and compare it with this manifest; every difference is listed.",
)
@click.option("--manifest", metavar="FILE", type=click.Path(path_type=Path), help="Write the manifest here.")
@click.option(
    "--export", metavar="DIR", type=click.Path(path_type=Path), help="Write the protocol's LQ sets to a new folder."
)
@click.option(
    "--import", "take", metavar="DIR", type=click.Path(path_type=Path), help="Take over LQ sets that others exported."
)
@click.option("--dry-run", is_flag=True, help="List the clips that are found; decode nothing.")
@click.option("-m", "--multirun", is_flag=True, help="Sweep: prepare every combination of comma-separated values.")
def command(
    overrides: tuple[str, ...],
    verify: Path | None,
    manifest: Path | None,
    export: Path | None,
    take: Path | None,
    dry_run: bool,
    multirun: bool,
) -> int:
    """Find a dataset's clips, compare them with the card, decode every frame and write down the hash of its pixels.

    \b
    stvsr-bench prepare dataset=vid4 dataset.root=~/data/Vid4
    stvsr-bench prepare dataset=folder dataset.root=~/clips dataset.name=my_clips
    stvsr-bench prepare dataset=vid4 --verify vid4.csv
    stvsr-bench prepare dataset=vid4 protocol=diffst-x4t4 executor.workers=4 --export lq_for_others
    \b
    Options are Hydra overrides KEY=VALUE as in `run`; a method is not needed:
      dataset=NAME dataset.root=…     which dataset, and where it lies
      dataset.variant=… dataset.lq_role=… dataset.lq_size=gt|shrink4
      dataset.clips=A,B dataset.limit=N
                                      only these clips; no manifest is written then
      protocol=NAME                   also check that every clip fits the protocol, and make the LQ sets it stores
      executor.workers=N              processes that make LQ sets (frames are always decoded on all processors)
    \b
    The manifest is written below the data root (manifests/ID.csv), or to --manifest FILE, and never over another one:
    where there is one already, the files are compared with it. The same command goes on where it was interrupted;
    what was decoded is not decoded again while its files stay the same, except under --verify.
    Exit status: 0 all ok (warnings are printed), 1 a clip is broken, differs from a manifest or does not fit the
    protocol, 2 user error, 130 interrupted.
    """
    from stvsr_bench.evaluation.prepare import Wishes, prepare_command

    arguments: list[Any] = list(overrides)
    if dry_run:
        arguments.append("dry_run=true")
    if multirun:
        arguments.append("--multirun")
    paths = (None if path is None else user_path(path) for path in (verify, manifest, export, take))
    return prepare_command(arguments, Wishes(*paths), make_console())
