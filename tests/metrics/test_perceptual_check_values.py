"""Bicubic ×4 on Vid4 must give the known LPIPS, DISTS, ST-LPIPS and NIQE with the published parameters."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stvsr_bench.degradation.imresize import imresize
from stvsr_bench.metrics.base import FrameBatch, build_metric
from stvsr_bench.metrics.catalog import CATALOG, find_metric

CLIPS = ("calendar", "city", "foliage", "walk")
RANGES = (("cv401", "cv420"), ("cv431", "cv435"))
EVERY_THIRD = ("lpips_vgg_v0.1", "dists", "stlpips_alex")
"""Metrics whose rows say frames 1, 4, 7, …, 31; the others' say all 31."""
IDS = ("lpips_alex_v0.1", *EVERY_THIRD, "niqe_pyiqa_yiq")
TOLERANCE = {"niqe_pyiqa_yiq": 1e-3}
"""1e-4 elsewhere; the rows' own allowance for NIQE is 1e-2."""
EXHAUSTIVE = pytest.mark.skipif(
    os.environ.get("STVSR_BENCH_EXHAUSTIVE") != "1",
    reason="takes ten minutes; STVSR_BENCH_EXHAUSTIVE=1 runs it",
)


def known(folder: Path) -> dict[tuple[str, str], float]:
    """The rows' values by clip and metric."""
    with (folder / "check_values.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if any(a <= row["id"] <= b for a, b in RANGES)]
    assert len(rows) == 25
    found = {}
    for row in rows:
        named = dict(re.findall(r"(\w+)=([^;]+);", row["note"]))
        name = find_metric(named["metric"]).id
        assert row["frames"].startswith("1,4,7") is (name in EVERY_THIRD)
        found[row["clip"], name] = float(named["value"])
    assert {name for _, name in found} == set(IDS)
    return found


def read(file: Path) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)[None]


def scores(folder: Path, reduce: Callable[[torch.Tensor], torch.Tensor], names: Sequence[str]) -> dict[str, float]:
    metrics = [build_metric(CATALOG[name]) for name in names]
    for metric in metrics:
        metric.setup("cpu")
    for number, file in enumerate(sorted(folder.iterdir())):
        gt = read(file)
        batch = FrameBatch(reduce(gt), gt, [number])
        for metric in metrics:
            if number % 3 == 0 or metric.info.id not in EVERY_THIRD:
                metric.update(batch)
    return {metric.info.id: metric.compute().value or math.nan for metric in metrics}


def bicubic(gt: torch.Tensor) -> torch.Tensor:
    return imresize(imresize(gt, Fraction(1, 4)), 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("clips", "names"),
    [
        pytest.param(("walk",), ("lpips_alex_v0.1", "niqe_pyiqa_yiq"), id="walk"),
        pytest.param(CLIPS, IDS, id="all", marks=EXHAUSTIVE),
    ],
)
def test_bicubic_x4_gives_the_check_values(
    clips: tuple[str, ...],
    names: tuple[str, ...],
    shared_data: Path,
    shared_reported: Path,
    published: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    published(*names)
    wanted = known(shared_reported)
    measured = {clip: scores(shared_data / "Vid4" / clip / "hr", bicubic, names) for clip in clips}
    if len(clips) == len(CLIPS):
        measured["average"] = {name: math.fsum(measured[clip][name] for clip in clips) / len(clips) for name in names}
    off = {(clip, name): value - wanted[clip, name] for clip, row in measured.items() for name, value in row.items()}
    largest = {name: max(abs(d) for (_, n), d in off.items() if n == name) for name in names}
    with capsys.disabled():
        print(f"\n{len(off)} rows on Vid4, largest difference: { ({n: f'{d:.2g}' for n, d in largest.items()}) }")
    assert {key: d for key, d in off.items() if not abs(d) <= TOLERANCE.get(key[1], 1e-4)} == {}


def test_one_frame_of_vid4_lies_near_its_clip(
    shared_data: Path, shared_reported: Path, published: Callable[..., None]
) -> None:
    """A quick look: the first frame of walk, whose values lie within a tenth of the clip's."""
    published(*IDS)
    wanted = known(shared_reported)
    gt = read(sorted((shared_data / "Vid4" / "walk" / "hr").iterdir())[0])
    batch = FrameBatch(bicubic(gt), gt, [0])
    for name in IDS:
        metric = build_metric(CATALOG[name])
        metric.setup("cpu")
        metric.update(batch)
        assert metric.compute().value == pytest.approx(wanted["walk", name], rel=0.1), name
