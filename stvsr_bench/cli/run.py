"""``stvsr-bench run``: one run, or a sweep of runs."""

from __future__ import annotations

from typing import Any

import click

from stvsr_bench.cli.output import make_console


@click.command(
    "run",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": ["-h", "--help"]},
)
@click.argument("overrides", nargs=-1, type=click.UNPROCESSED)
@click.option("--dry-run", is_flag=True, help="Print the plan, its sizes and what is missing; restore nothing.")
@click.option("-m", "--multirun", is_flag=True, help="Sweep: run every combination of comma-separated values.")
@click.option("--cfg", type=click.Choice(["job", "hydra", "all"]), help="Print the composed configuration and stop.")
def command(overrides: tuple[str, ...], dry_run: bool, multirun: bool, cfg: str | None) -> int:
    """Run a method on a dataset under a protocol, score it and keep every result.

    \b
    stvsr-bench run method=bicubic_dis_flow dataset=demo protocol=bi-x4t2
    stvsr-bench run method=bicubic dataset=vid4 dataset.root=~/data/Vid4
    stvsr-bench run -m method=blend,dis_flow dataset=demo protocol=gt-t2,gt-t4
    stvsr-bench run method=outputs method.dir=my_frames method.label=mine dataset=vid4
    \b
    Options are Hydra overrides KEY=VALUE; the usual ones:
      method=NAME dataset=NAME        see `stvsr-bench list methods` and `list datasets`
      protocol=auto|NAME              auto picks by the method and the dataset's kind
      method.KEY=… dataset.root=…     knobs of the method, where the data lies
      dataset.clips=A,B dataset.frames=0:9:3 dataset.limit=N
                                      a trial on a part; marked partial, never ranked
      metrics=auto|GROUP or metrics.ids=[a,b]
      results_dir=DIR device=auto|cpu|cuda:N dtype=float32|float16|bfloat16 seed=N
      keep_outputs=png|ffv1|no executor.workers=N executor.overlap=true|false
    \b
    The same command resumes: what is finished is not done again. Exit status: 0 all ok, 1 a sample failed,
    2 user error, 130 interrupted. Other Hydra options (--config-dir, --info, --package) work too; for completion:
    eval "$(stvsr-bench --shell-completion install=bash)".
    """
    from stvsr_bench.evaluation.command import run_command

    arguments: list[Any] = list(overrides)
    if dry_run:
        arguments.append("dry_run=true")
    if multirun:
        arguments.append("--multirun")
    if cfg:
        arguments += ["--cfg", cfg]
    return run_command(arguments, make_console())
