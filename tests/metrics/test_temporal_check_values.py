"""Bicubic ×4 on Vid4 must give the known tLP with the published parameters, whole, cropped and in TecoGAN's range."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stvsr_bench.degradation.imresize import imresize
from stvsr_bench.metrics.base import FrameBatch, build_metric
from stvsr_bench.metrics.catalog import CATALOG

CLIPS = ("calendar", "city", "foliage", "walk")
IDS = {"tlp_uncropped_x100": "tlp_uncropped", "tlp_crop_8x8_x100": "tlp_crop_8x8", "tlp_tecogan_x100": "tlp_tecogan"}
RANGE = (("cv421", "cv430"), ("cv436", "cv440"))
TOLERANCE = 1e-4


def known(folder: Path) -> dict[tuple[str, str], float]:
    """The rows' values by clip and metric."""
    with (folder / "check_values.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if any(a <= row["id"] <= b for a, b in RANGE)]
    assert len(rows) == 15
    found = {}
    for row in rows:
        named = dict(re.findall(r"(\w+)=([^;]+);", row["note"]))
        found[row["clip"], IDS[named["metric"]]] = float(named["value"])
    return found


def scores(folder: Path, reduce: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, float]:
    metrics = [build_metric(CATALOG[identifier]) for identifier in IDS.values()]
    for metric in metrics:
        metric.setup("cpu")
    for number, file in enumerate(sorted(folder.iterdir())):
        gt = torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)[None]
        batch = FrameBatch(reduce(gt), gt, [number])
        for metric in metrics:
            metric.update(batch)
    return {metric.info.id: metric.compute().value or math.nan for metric in metrics}


def differences(shared_data: Path, shared_reported: Path, clips: tuple[str, ...]) -> dict[tuple[str, str], float]:
    """Measured less known, by clip and metric; with all clips also their average."""
    wanted = known(shared_reported)
    measured = {
        clip: scores(shared_data / "Vid4" / clip / "hr", lambda gt: imresize(imresize(gt, Fraction(1, 4)), 4))
        for clip in clips
    }
    if len(clips) == len(CLIPS):
        measured["average"] = {i: math.fsum(measured[clip][i] for clip in clips) / len(clips) for i in IDS.values()}
    return {(clip, i): value - wanted[clip, i] for clip, values in measured.items() for i, value in values.items()}


@pytest.mark.slow
@pytest.mark.parametrize("clips", [("walk",), CLIPS], ids=["walk", "all"])
def test_bicubic_x4_gives_the_check_values(
    clips: tuple[str, ...],
    shared_data: Path,
    shared_reported: Path,
    published: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    published(*IDS.values())
    off = differences(shared_data, shared_reported, clips)
    with capsys.disabled():
        print(f"\ntLP on Vid4: {len(off)} rows, largest difference {max(map(abs, off.values())):.2g}")
    assert {key: value for key, value in off.items() if not abs(value) <= TOLERANCE} == {}
