"""Comparison strips of finished runs: what the numbers of one clip look like."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stvsr_bench.core.atomic import read_json
from stvsr_bench.core.errors import ResultError
from stvsr_bench.core.slug import slug
from stvsr_bench.data.apply import apply_protocol
from stvsr_bench.data.sample import Sample
from stvsr_bench.evaluation.plan import Plan, make_plan
from stvsr_bench.report.results import Run, find_runs
from stvsr_bench.report.strips import StripRow, comparison_strip, save_strip
from stvsr_bench.video.clip import Clip
from stvsr_bench.video.reading import open_clip

CAPTION = "psnr_y_crop4"


def write_strips(folders: Iterable[Path], output: Path) -> list[Path]:
    """Write one picture per clip and setting: GT, LQ and every method, at a key frame and an interpolated one.

    Args:
        folders: results folders or run folders; runs whose outputs were kept take part.
        output: folder of the PNG files.

    Raises:
        ResultError: no run below the folders kept its outputs.
    """
    groups: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in find_runs(folders).runs:
        groups[run.dataset, run.protocol].append(run)
    written = []
    for (dataset, protocol), runs in sorted(groups.items()):
        runs.sort(key=lambda run: (run.method, run.seed))
        plan = make_plan({**read_json(Path(runs[0].folder) / "run.json")["config"], "dry_run": False})
        for source in plan.sources:
            outputs = [(run, clip) for run in runs if (clip := _output(run, source.name)) is not None]
            if not outputs:
                continue
            path = output / f"{slug(dataset)}_{slug(protocol)}_{slug(source.name)}.png"
            save_strip(path, _strip(plan, apply_protocol(plan.protocol, source, generation=plan.generation), outputs))
            written.append(path)
    if not written:
        raise ResultError(
            "there is nothing to draw",
            got=f"{sum(map(len, groups.values()))} runs below {', '.join(map(str, folders))}, none with kept outputs",
            accepted="finished runs whose outputs were kept (keep_outputs=png or ffv1)",
            action="run a method first: stvsr-bench run method=bicubic_dis_flow dataset=demo protocol=bi-x4t2",
        )
    return written


def _output(run: Run, sample: str) -> Clip | None:
    """Return a run's kept output of one sample."""
    result = run.samples.get(sample)
    if result is None or result.restored is None or result.restored.outputs is None:
        return None
    kept = Path(run.folder) / result.restored.outputs[1]
    return open_clip(kept, sample) if kept.exists() else None


def _strip(plan: Plan, sample: Sample, outputs: list[tuple[Run, Clip]]) -> NDArray[np.uint8]:
    chosen = [("key frame", _middle(list(sample.key_frames)))]
    between = [i for i in range(sample.out_frames) if i not in set(sample.key_frames)]
    if between:
        chosen.append(("interpolated frame", _middle(between)))
    rows = []
    for kind, frame in chosen:
        number, rest = sample.lq_position(frame)
        rows.append(
            StripRow(
                title=f"{kind} {frame}",
                gt=None if sample.gt is None else _picture(sample.gt[frame]),
                lq=_picture(sample.lq[number]),
                outputs=[_picture(clip[frame]) for _, clip in outputs],
                captions=[_caption(run, sample.name, frame) for run, _ in outputs],
                lq_caption=f"LQ frame {number}" + (" (the one before)" if rest else ""),
            )
        )
    several = len({run.seed for run, _ in outputs}) > 1
    names = [f"{run.method} seed {run.seed}" if several else run.method for run, _ in outputs]
    return comparison_strip(rows, names, title=f"{plan.dataset.id} · {sample.name} · {plan.protocol.id}")


def _caption(run: Run, sample: str, frame: int) -> str:
    score = run.samples[sample].scores.get(CAPTION)
    value = None if score is None else score.per_frame.get(frame)
    return "" if value is None else f"PSNR Y {value:.2f} dB"


def _middle(frames: list[int]) -> int:
    return frames[len(frames) // 2]


def _picture(frame: Any) -> NDArray[np.uint8]:
    picture: NDArray[np.uint8] = frame.permute(1, 2, 0).contiguous().numpy()
    return picture
