"""Bicubic ×4 on Vid4 must give the known PSNR and SSIM: all clips, Y float and RGB, borders 0 and 4."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from stvsr_bench.degradation.imresize import imresize
from stvsr_bench.metrics.base import FrameBatch, build_metric
from stvsr_bench.metrics.catalog import CATALOG

CLIPS = ("calendar", "city", "foliage", "walk")
IDS = {
    ("Y float", "0"): ("psnr_y_crop0", "ssim_y_crop0"),
    ("Y float", "4"): ("psnr_y_crop4", "ssim_y_crop4"),
    ("RGB", "0"): ("psnr_rgb", "ssim_rgb"),
    ("RGB", "4"): ("psnr_rgb_crop4", "ssim_rgb_crop4"),
}
PSNR_TOLERANCE, SSIM_TOLERANCE = 0.00006, 0.00006  # the rows have four decimals


def scores(folder: Path, reduce: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, float | None]:
    metrics = {id_: build_metric(CATALOG[id_]) for pair in IDS.values() for id_ in pair}
    for number, file in enumerate(sorted(folder.iterdir())):
        gt = torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)[None]
        batch = FrameBatch(reduce(gt), gt, [number])
        for metric in metrics.values():
            metric.update(batch)
    return {id_: metric.compute().value for id_, metric in metrics.items()}


def test_bicubic_x4_gives_the_check_values(shared_data: Path, shared_reported: Path) -> None:
    measured = {
        clip: scores(shared_data / "Vid4" / clip / "hr", lambda gt: imresize(imresize(gt, Fraction(1, 4)), 4))
        for clip in CLIPS
    }
    measured["average"] = {
        id_: math.fsum(measured[clip][id_] or math.nan for clip in CLIPS) / len(CLIPS) for id_ in measured["walk"]
    }
    with (shared_reported / "check_values.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if "cv001" <= r["id"] <= "cv030" and r["channel"] != "Y rounded"]
    assert len(rows) == 20
    off = {}
    for row in rows:
        psnr_id, ssim_id = IDS[row["channel"], row["border"]]
        got = measured[row["clip"]]
        off[row["id"]] = ((got[psnr_id] or 0) - float(row["psnr_db"]), (got[ssim_id] or 0) - float(row["ssim"]))
    wrong = {k: v for k, v in off.items() if abs(v[0]) > PSNR_TOLERANCE or abs(v[1]) > SSIM_TOLERANCE}
    assert not wrong
