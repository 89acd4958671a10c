"""Vid4 degraded by BI or BD and enlarged by bicubic ×4 must give the known PSNR and SSIM in every colour and border."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image

from stvsr_bench.degradation.framewise import FRAMEWISE
from stvsr_bench.degradation.imresize import imresize
from stvsr_bench.metrics.base import FrameBatch, Metric, build_metric
from stvsr_bench.metrics.catalog import CATALOG
from stvsr_bench.metrics.functional.psnr import inner, mean_squared_error, psnr_from_mse, squared_error
from stvsr_bench.metrics.functional.ssim import ssim_from_maps, ssim_maps

CLIPS = ("calendar", "city", "foliage", "walk")
BLOCK = 8
TOLERANCE = 0.00005 + 1e-9  # the rows have four decimals

Key = tuple[str, int]
"""Colour and border as the rows have them."""
Scores = dict[Key, list[tuple[float, float]]]
"""PSNR and SSIM of every frame."""


def in_batches(colour: str, border: int) -> Callable[[FrameBatch], list[tuple[float, float]]]:
    """Return what scores a batch of frames."""
    if colour == "Y rounded":  # no metric of ours rounds Y; the rows tell how much that would move

        def score(batch: FrameBatch) -> list[tuple[float, float]]:
            pred, gt = (batch.feature(side, "y.rounded", batch.y(side).add(0.5).floor) for side in ("pred", "gt"))
            error = batch.feature("both", "error.rounded", lambda: squared_error(pred, gt))
            maps = batch.feature("both", "maps.rounded", lambda: ssim_maps(pred, gt))
            errors = mean_squared_error(error, 1, inner(batch.height, batch.width, border))
            return list(zip(map(psnr_from_mse, errors), ssim_from_maps(maps, border), strict=True))

        return score
    space = {"Y float": "y_crop0", "RGB": "rgb"}[colour]
    both: list[Metric] = []
    for id_ in (f"psnr_{space}", f"ssim_{space}"):
        info = CATALOG[id_]
        both.append(build_metric(replace(info, params={**info.params, "crop": border})))
    return lambda batch: list(zip(*(metric.score(batch, None) for metric in both), strict=True))


def frames_of(folder: Path) -> torch.Tensor:
    images = [np.array(Image.open(file).convert("RGB")) for file in sorted(folder.iterdir())]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def scores(gt: torch.Tensor, pred: Callable[[torch.Tensor], torch.Tensor], keys: list[Key]) -> Scores:
    values: Scores = defaultdict(list)
    measures = {key: in_batches(*key) for key in keys}
    for start in range(0, len(gt), BLOCK):
        block = gt[start : start + BLOCK]
        batch = FrameBatch(pred(block), block, range(start, start + len(block)))
        for key, measure in measures.items():
            values[key] += measure(batch)
    return values


def mean(values: list[tuple[float, float]]) -> tuple[float, float]:
    psnr, ssim = (math.fsum(column) / len(values) for column in zip(*values, strict=True))
    return psnr, ssim


def check(
    rows: list[dict[str, str]],
    folder: Path,
    degradation: str,
    rounding: Literal["matlab_uint8", "once"] = "matlab_uint8",
) -> None:
    """Compare every row with what the degradation gives after MATLAB's bicubic ×4 (in 8 bits or float)."""

    def pred(gt: torch.Tensor) -> torch.Tensor:
        return imresize(FRAMEWISE[degradation].apply(gt, 4), 4, rounding=rounding)

    keys = sorted({(row["channel"], int(row["border"])) for row in rows})
    measured = {clip: scores(frames_of(folder / clip / "hr"), pred, keys) for clip in CLIPS}
    off: dict[str, tuple[float, float]] = {}
    for row in rows:
        key = row["channel"], int(row["border"])
        inner = slice(2, 29) if row["frames"].startswith("3-29") else slice(0, 31)
        each = {clip: mean(measured[clip][key][inner]) for clip in CLIPS}
        psnr, ssim = mean(list(each.values())) if row["clip"] == "average" else each[row["clip"]]
        off[row["id"]] = psnr - float(row["psnr_db"]), ssim - float(row["ssim"])
    psnr, ssim = (max(map(abs, column)) for column in zip(*off.values(), strict=True))
    print(f"{degradation}: {len(off)} rows, largest difference {psnr:.6f} dB, SSIM {ssim:.6f}")
    assert not {id_: o for id_, o in off.items() if max(map(abs, o)) > TOLERANCE}


@pytest.fixture(scope="module")
def rows(shared_reported: Path) -> Callable[..., list[dict[str, str]]]:
    """Rows between two ids that hold computed values of Vid4, in the order of the file."""
    with (shared_reported / "check_values.csv").open(newline="") as file:
        every = list(csv.DictReader(file))

    def between(first: str, last: str, *, degradation: str, count: int) -> list[dict[str, str]]:
        found = [row for row in every if first <= row["id"] <= last]
        assert len(found) == count
        assert all(row["degradation"].startswith(degradation) for row in found)
        return found

    return between


Rows = Callable[..., list[dict[str, str]]]
VID4 = "Vid4"


@pytest.mark.slow
def test_bi_gives_the_check_values_in_every_colour_and_border(shared_data: Path, rows: Rows) -> None:
    wanted = rows("cv001", "cv045", degradation="BI: MATLAB imresize on uint8", count=45)
    wanted += rows("cv136", "cv140", degradation="BI: MATLAB imresize on uint8", count=5)
    check(wanted, shared_data / VID4, "bi")


@pytest.mark.slow
def test_bi_float_gives_the_check_values_in_every_colour_and_border(shared_data: Path, rows: Rows) -> None:
    wanted = rows("cv046", "cv075", degradation="BI: float imresize, rounded once", count=30)
    check(wanted, shared_data / VID4, "bi_float", rounding="once")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("degradation", "first", "last", "count", "name"),
    [
        ("bd", "cv141", "cv145", 5, "BD: mmagic even 12x12 gaussian 1.6, replicate, offset 1 stride 4 (centred)"),
        ("bd_offset0", "cv116", "cv125", 10, "BD: 13-tap gaussian 1.6, stride 4, offset 0, reflect101"),
        ("bd_offset2", "cv126", "cv135", 10, "BD: 13-tap gaussian 1.6, stride 4, offset 2"),
    ],
    ids=["bd", "bd_offset0", "bd_offset2"],
)
def test_bd_gives_the_check_values(
    degradation: str, first: str, last: str, count: int, name: str, shared_data: Path, rows: Rows
) -> None:
    check(rows(first, last, degradation=name, count=count), shared_data / VID4, degradation)


def test_the_phase_of_bd_is_worth_more_than_a_decibel(shared_data: Path) -> None:
    gt = frames_of(shared_data / VID4 / "walk" / "hr")[:BLOCK]
    psnr = {}
    for name in ("bd", "bd_offset0"):
        enlarged = imresize(FRAMEWISE[name].apply(gt, 4), 4)
        psnr[name] = mean(in_batches("Y float", 0)(FrameBatch(enlarged, gt, range(len(gt)))))[0]
    assert psnr["bd"] - psnr["bd_offset0"] > 1
