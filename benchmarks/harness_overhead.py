"""How much a run costs beyond the method and the metrics.

On a PNG copy of a Vid4 clip (31 frames of 720×480 for ``walk``), ``bicubic_blend`` under ``bi-x4t2``:

    (wall time − method − metric arithmetic)  against  (decoding the GT PNG + encoding the output PNG)

The second is timed alone in this script with the same threads. Both are measured after a warm-up, in turn, several
times; process start is not counted. ``executor.overlap=false`` runs the stages one after the other and shows what
overlapping saves.

    python benchmarks/harness_overhead.py ../shared/data/Vid4/walk/hr
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line sets it, before torch is imported

import torch
from rich.console import Console

from stvsr_bench.evaluation.compose import compose
from stvsr_bench.evaluation.plan import make_plan
from stvsr_bench.evaluation.runner import execute
from stvsr_bench.evaluation.store import RunStore
from stvsr_bench.video.prefetch import PrefetchClip
from stvsr_bench.video.reading import open_clip
from stvsr_bench.video.writing import open_writer


def codec_seconds(gt: Path, outputs: Path, folder: Path) -> float:
    """Decode the GT PNG and encode the output PNG, as the run does but with nothing else to do."""
    clip = open_clip(outputs)
    frames = clip[:]
    began = time.perf_counter()
    with PrefetchClip(open_clip(gt)) as reader:
        for _ in reader.blocks(8):
            pass
    with open_writer(folder, "png", clip.height, clip.width, None) as writer:
        for start in range(0, len(frames), 8):
            writer.write(frames[start : start + 8])
    return time.perf_counter() - began


def run_once(root: Path, results: Path, overlap: bool) -> tuple[float, float, float, Path]:
    """Run once; returns wall, method and metric seconds, and the outputs."""
    plan = make_plan(
        compose(
            [
                "method=bicubic_blend",
                "dataset=folder",
                f"dataset.root={root}",
                "dataset.name=overhead",
                "protocol=bi-x4t2",
                f"results_dir={results}",
                f"executor.overlap={'true' if overlap else 'false'}",
                "device=cpu",
            ]
        )
    )
    began = time.perf_counter()
    outcome = execute(plan, Console(quiet=True))
    wall = time.perf_counter() - began
    if outcome.failures:
        raise SystemExit(str(outcome.failures))
    record = RunStore(plan).load("clip")
    if record is None:
        raise SystemExit("the run left no result")
    timing = record["timing"]
    return wall, timing["restore_seconds"], timing["score_seconds"], plan.folder / record["restore"]["outputs"]["path"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=Path, help="folder of GT frames")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        clip = open_clip(options.frames)
        gt = folder / "data" / "GT" / "clip"
        with open_writer(gt, "png", clip.height, clip.width, None) as writer:
            for block in clip.blocks(8):
                writer.write(block)
        print(
            f"{len(clip)} frames of {clip.width}×{clip.height}; {options.threads} torch threads; {platform.machine()}"
        )
        print(
            f"{'overlap':8} {'wall':>7} {'method':>7} {'metrics':>7} {'rest':>7} {'codecs':>7} {'rest/codecs':>11}  [s]"
        )
        for overlap in (True, False):
            rows = []
            for repeat in range(options.repeats + 1):
                results = folder / f"runs-{overlap}-{repeat}"
                wall, method, metrics, outputs = run_once(folder / "data", results, overlap)
                codecs = codec_seconds(gt, outputs, folder / f"codec-{overlap}-{repeat}")
                if repeat:  # the first is the warm-up
                    rows.append((wall, method, metrics, wall - method - metrics, codecs))
            wall, method, metrics, rest, codecs = (statistics.median(column) for column in zip(*rows, strict=True))
            ratio = statistics.median(row[3] / row[4] for row in rows)
            print(
                f"{overlap!s:8} {wall:7.2f} {method:7.2f} {metrics:7.2f} {rest:7.2f} {codecs:7.2f} {ratio:11.2f}"
                f"  (ratio min {min(r[3] / r[4] for r in rows):.2f}, max {max(r[3] / r[4] for r in rows):.2f})"
            )


if __name__ == "__main__":
    main()
