"""Times and memory: a table of its own, because equal results take different times."""

from __future__ import annotations

import csv
import io
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from itertools import groupby
from typing import TYPE_CHECKING

from stvsr_bench.core.errors import ResultError
from stvsr_bench.report.contenders import Contender, contenders
from stvsr_bench.report.results import Restored, Run, find_runs

if TYPE_CHECKING:
    from rich.console import Console

TOTAL = "total"
"""Name of the line that sums the stages."""


@dataclass(frozen=True)
class TimingRow:
    """Time and memory of one stage of one method in one setting on one device.

    Attributes:
        dataset: id with variant.
        protocol: id.
        method: id.
        settings: options that tell it from the method's other rows.
        seed: the run's seed.
        device: what computed it.
        stage: the stage, or :data:`TOTAL`.
        seconds_per_frame: wall seconds per frame of the final output, whatever the stage itself counts, so that
            stages add up.
        peak_mib: largest peak memory in MiB, ``None`` where it was not measured.
        n: clips.
    """

    dataset: str
    protocol: str
    method: str
    settings: str
    seed: int
    device: str
    stage: str
    seconds_per_frame: float
    peak_mib: float | None
    n: int


@dataclass(frozen=True)
class TimingTable:
    """Rows in a fixed order, and the files that could not be read."""

    rows: tuple[TimingRow, ...]
    problems: tuple[ResultError, ...] = ()

    def to_csv(self) -> str:
        """Return the rows as CSV, seconds with six decimals and MiB with one."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([f.name for f in fields(TimingRow)])
        for row in self.rows:
            *names, seconds, peak, n = astuple(row)
            writer.writerow([*names, f"{seconds:.6f}", "" if peak is None else f"{peak:.1f}", n])
        return out.getvalue()


def timing_table(folders: Iterable[str | os.PathLike[str]]) -> TimingTable:
    """Find every run at or below ``folders`` and sum its times.

    Raises:
        ResultError: a folder does not exist.
    """
    found = find_runs(folders)
    return TimingTable(tuple(timing_rows(found.runs)), tuple(found.problems))


def timing_rows(runs: Iterable[Run]) -> list[TimingRow]:
    """Return one row per contender, device and stage, and one for the sum of the stages."""
    return [row for contender in contenders(runs) for row in _rows(contender)]


def _rows(contender: Contender) -> list[TimingRow]:
    by_device: dict[str, dict[str, Restored]] = defaultdict(dict)
    for run in contender.runs:
        for name, sample in run.samples.items():
            if sample.status == "ok" and sample.restored:
                by_device[sample.restored.device].setdefault(name, sample.restored)
    rows = []
    for device in sorted(by_device):
        restored = [by_device[device][name] for name in sorted(by_device[device])]
        frames = sum(r.frames for r in restored)
        stages = [stage for r in restored for stage in r.stages]
        names = list(dict.fromkeys(stage.name for stage in stages))
        for name in [*names, TOTAL] if len(names) != 1 else names:
            chosen = [stage for stage in stages if name in (stage.name, TOTAL)]
            peaks = [stage.peak_bytes for stage in chosen if stage.peak_bytes is not None]
            rows.append(
                TimingRow(
                    dataset=contender.setting.dataset,
                    protocol=contender.setting.protocol,
                    method=contender.method,
                    settings=contender.settings,
                    seed=contender.seed,
                    device=device,
                    stage=name,
                    seconds_per_frame=sum(stage.seconds for stage in chosen) / frames if frames else 0.0,
                    peak_mib=max(peaks) / 2**20 if peaks else None,
                    n=len(restored),
                )
            )
    return rows


def print_timing(folders: Iterable[str | os.PathLike[str]], console: Console) -> TimingTable:
    """Print the times of every run at or below ``folders`` to a rich ``console``, and return them.

    Raises:
        ResultError: a folder does not exist.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = timing_table(folders)
    if not table.rows:
        console.print(Text("No timed runs found."))
    for (dataset, protocol), rows in groupby(table.rows, key=lambda row: (row.dataset, row.protocol)):
        shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("method", "device", "stage"):
            shown.add_column(name, overflow="fold")
        for name in ("s/frame", "peak MiB", "clips"):
            shown.add_column(name, justify="right", no_wrap=True)
        previous = None
        for row in rows:
            name = (
                row.method + (f" ({row.settings})" if row.settings else "") + (f" seed {row.seed}" if row.seed else "")
            )
            group = (name, row.device)
            peak = "–" if row.peak_mib is None else f"{row.peak_mib:.0f}"
            cells = [*(group if group != previous else ("", "")), row.stage, f"{row.seconds_per_frame:.4f}", peak]
            shown.add_row(*map(Text, [*cells, str(row.n)]))
            previous = group
        console.print(Text(f"{dataset} · {protocol} · seconds per output frame", style="bold"))
        console.print(shown)
    for problem in table.problems:
        console.print(Text(f"not read: {problem}", style="yellow"))
    return table
