"""VMAF of bicubic ×4 on Vid4, and of the ground truth against itself, against the check values."""

from __future__ import annotations

import csv
import math
import os
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stvsr_bench.degradation.imresize import imresize
from stvsr_bench.metrics import programs
from stvsr_bench.metrics.base import FrameBatch, build_metric
from stvsr_bench.metrics.catalog import CATALOG

CLIPS = ("calendar", "city", "foliage", "walk")
IDS = ("vmaf_v0.6.1", "vmaf_v0.6.1neg")
TOLERANCE = 0.01
ROWS = [f"cv{number}" for number in (*range(451, 456), *range(461, 466), *range(471, 476))]


def score(folder: Path, restored: bool) -> dict[str, float]:
    files = sorted(folder.iterdir())
    metrics = [build_metric(CATALOG[name]) for name in (IDS if restored else IDS[:1])]
    for metric in metrics:
        metric.setup("cpu")
        metric.start(folder.parent.name, len(files))
    for number, file in enumerate(files):
        gt = torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)[None]
        pred = imresize(imresize(gt, Fraction(1, 4)), 4) if restored else gt
        batch = FrameBatch(pred, gt, [number])
        for metric in metrics:
            metric.update(batch)
    values = {metric.info.id: metric.compute().value or math.nan for metric in metrics}
    for metric in metrics:
        metric.close()
    return values


def test_bicubic_x4_and_the_ground_truth_give_the_check_values(shared_data: Path, shared_reported: Path) -> None:
    problem = programs.missing_program(programs.LIBVMAF)
    if problem is not None:
        if os.environ.get("STVSR_BENCH_REQUIRE_WEIGHTS") == "1":
            pytest.fail(str(problem))
        pytest.skip(str(problem))
    measured = {
        (clip, method): score(shared_data / "Vid4" / clip / "hr", method != "GT")
        for clip in CLIPS
        for method in ("bicubic", "GT")
    }
    with (shared_reported / "check_values.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    off = {}
    for name in ROWS:
        row = rows[name]
        method = "GT" if row["method"] == "GT" else "bicubic"
        found = re.match(r"metric=(\S+); value=([\d.]+);", row["note"])
        assert found is not None
        clips = CLIPS if row["clip"] == "average" else (row["clip"],)
        value = math.fsum(measured[clip, method][found[1]] for clip in clips) / len(clips)
        off[name] = abs(value - float(found[2]))
    print(f"{len(off)} check values of VMAF, largest difference {max(off.values()):.2g}")
    assert {name: value for name, value in off.items() if value > TOLERANCE} == {}
