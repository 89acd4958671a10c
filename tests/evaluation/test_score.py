"""Scoring arrays, clips and folders of clips without a run."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

import stvsr_bench as sb
from stvsr_bench.core.errors import BenchError, ClipError, DataError, MetricError, UnknownNameError
from stvsr_bench.metrics.result import MetricResult, views
from stvsr_bench.video.writing import open_writer


def frames(seed: int, count: int = 5, height: int = 24, width: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def write(path: Path, clip: torch.Tensor) -> None:
    with open_writer(path, "png", clip.shape[2], clip.shape[3], None) as writer:
        writer.write(clip)


def test_every_form_of_a_clip_gives_the_same_value(tmp_path: Path) -> None:
    pred, gt = frames(1), frames(2)
    write(tmp_path / "pred", pred)
    write(tmp_path / "gt", gt)
    wanted = sb.evaluate(pred, gt, "psnr_rgb")["psnr_rgb"]
    forms = [
        (pred.permute(0, 2, 3, 1).numpy(), gt.permute(0, 2, 3, 1).contiguous()),
        (pred.float() / 255, gt.double() / 255),
        (tmp_path / "pred", str(tmp_path / "gt")),
    ]
    for one, other in forms:
        assert sb.evaluate(one, other, ["psnr_rgb"])["psnr_rgb"] == wanted


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (frames(1).float(), "outside \\[0, 1\\]"),
        (torch.full((2, 3, 24, 32), float("nan")), "NaN or infinite"),
        (frames(1)[:, 0], "no array of frames"),
        (frames(1).to(torch.int32), "no array of frames"),
        (np.zeros((2, 24, 32, 3), np.uint16), "no array of frames"),
        (torch.zeros(2, 3, 5, 3, dtype=torch.uint8), "no array of frames"),
    ],
    ids=["0-255 floats", "nan", "gray", "int32", "16 bit", "both sides 3 long"],
)
def test_arrays_that_are_no_clips_are_refused(bad: torch.Tensor, message: str) -> None:
    with pytest.raises(ClipError, match=message):
        sb.evaluate(bad, bad, "psnr_rgb")


def test_sizes_and_counts_must_match() -> None:
    with pytest.raises(MetricError, match=r"5 frames of 32×24 and 4 frames of 32×24"):
        sb.evaluate(frames(1), frames(2, 4), "psnr_rgb")
    with pytest.raises(MetricError, match=r"32×24 and 5 frames of 30×24"):
        sb.evaluate(frames(1), frames(2, width=30), "psnr_rgb")


def test_a_named_metric_must_be_possible_and_a_group_may_leave_some_out() -> None:
    with pytest.raises(MetricError, match="need ground truth"):
        sb.evaluate(frames(1), None, "psnr_rgb")
    with pytest.raises(MetricError, match="too small"):
        sb.evaluate(frames(1), frames(2), "niqe_pyiqa_yiq")
    with pytest.raises(UnknownNameError, match="psnr"):
        sb.evaluate(frames(1), frames(2), "psmr_rgb")
    found = sb.evaluate(frames(1), None, "fast")
    assert [info.id for info in found.metrics] == ["vbench_temporal_flickering"]
    tiny = sb.evaluate(frames(1, 3, 8, 8), frames(2, 3, 8, 8), "fast")
    assert "ssim_y_crop4" in tiny.left_out
    assert tiny["vbench_temporal_flickering"] is not None


def test_folders_of_clips_are_paired_by_name_and_one_bad_clip_fails_alone(tmp_path: Path) -> None:
    for seed, name in enumerate(("a, b", "walk", "city")):
        write(tmp_path / "out" / name, frames(seed))
        write(tmp_path / "gt" / "GT" / name, frames(seed + 10))
    (tmp_path / "out" / "walk" / "00000002.png").write_bytes(b"no picture")
    scores = sb.evaluate(tmp_path / "out", tmp_path / "gt", "psnr_rgb", time_scale=2)
    assert set(scores.clips) == {"a, b", "city"}
    assert isinstance(scores.errors["walk"], BenchError)
    assert scores.mean("psnr_rgb").n == 2
    values = [scores.clips[name]["psnr_rgb"].values for name in ("a, b", "city")]
    keys = [sum(v[0:5:2]) / 3 for v in values]  # type: ignore[arg-type]
    assert scores.mean("psnr_rgb", "key").value == pytest.approx(sum(keys) / 2, abs=1e-12)
    assert scores.mean("psnr_rgb", "distance 1").value == scores.mean("psnr_rgb", "interpolated").value
    scores.to_csv(tmp_path / "values.csv")
    rows = list(csv.DictReader((tmp_path / "values.csv").open(newline="")))
    assert len(rows) == 10
    assert {row["clip"] for row in rows} == {"a, b", "city"}
    (tmp_path / "out" / "walk").rename(tmp_path / "out" / "other")
    with pytest.raises(DataError, match="no ground truth of their name"):
        sb.evaluate(tmp_path / "out", tmp_path / "gt", "psnr_rgb")
    with pytest.raises(DataError, match="the other a single clip"):
        sb.evaluate(tmp_path / "out", frames(1), "psnr_rgb")


def test_pairs_that_cross_and_frames_by_distance() -> None:
    pairs = MetricResult("pair", tuple(map(float, range(8))), tuple(range(8)), 3.5, 8, None)
    found = views(pairs, range(0, 9, 4))
    assert found["key"].value is None
    assert found["crossing"].value == (0 + 3 + 4 + 7) / 4
    assert found["interpolated"].value == (1 + 2 + 5 + 6) / 4
    single = MetricResult("frame", tuple(map(float, range(9))), tuple(range(9)), 4.0, 9, None)
    found = views(single, range(0, 9, 4))
    assert {name: mean.n for name, mean in found.items()} == {
        "key": 3,
        "interpolated": 6,
        "distance 1": 4,
        "distance 2": 2,
    }
    whole = MetricResult("clip", (0.5,), (0,), 0.5, 1, None)
    assert views(whole, (0,))["key"].reason == "one value for the whole clip, none for a part of it"
