"""LQ stored at GT size: nothing is assumed, both readings are offered, and neither is mistaken for the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from stvsr_bench.core.errors import ConfigError, DataError, IncompatibleError
from stvsr_bench.data.apply import apply_protocol
from stvsr_bench.data.dataset import Dataset
from stvsr_bench.data.factory import build_dataset
from stvsr_bench.data.lq_size import LqSizeError, shrink
from stvsr_bench.data.protocol import load_protocol

MakeClip = Callable[..., Path]
SIZE = (16, 24)


def folder(root: Path, **options: Any) -> Dataset:
    return build_dataset("folder", {"root": str(root), "name": "own", **options})


@pytest.fixture
def pair(tmp_path: Path, make_clip: MakeClip) -> Path:
    make_clip(tmp_path / "GT" / "a", 3, SIZE)
    make_clip(tmp_path / "LQ" / "a", 3, SIZE, first=50)
    return tmp_path


def test_unset_is_an_error_that_shows_both_readings(pair: Path) -> None:
    with pytest.raises(LqSizeError) as caught:
        folder(pair).check(load_protocol("given-x4"))
    for part in (
        "LQ is stored at GT size",
        "16 rows × 24 columns",
        "dataset.lq_size=gt: the files as they are, restored at ×1 (",
        "given-x1t2",
        "dataset.lq_size=shrink4: shrunk by 4",
        "to 4 × 6",
        "given-x4t4",
    ):
        assert part in str(caught.value)
    with pytest.raises(LqSizeError):  # the clip alone says so, too
        apply_protocol(load_protocol("given-x1t2"), folder(pair).sources()[0])


def test_protocols_that_do_not_read_lq_need_no_choice(pair: Path) -> None:
    dataset = folder(pair)
    dataset.check(load_protocol("bi-x4"))
    assert apply_protocol(load_protocol("bi-x4"), dataset.sources()[0]).out_frames == 3
    assert dataset.lq_scale is None


def test_gt_takes_the_files_as_they_are(pair: Path) -> None:
    dataset = folder(pair, lq_size="gt")
    assert (dataset.id, dataset.files_id, dataset.lq_scale) == ("own", "own", 1)
    dataset.check(load_protocol("given-x1t2"))
    sample = apply_protocol(load_protocol("given-x1t2"), dataset.sources()[0])
    assert (sample.scale, sample.lq.height, sample.lq.width, int(sample.lq[1][0, 0, 0])) == (1, *SIZE, 52)
    with pytest.raises(IncompatibleError, match=r"given-x1.*; or dataset\.lq_size=shrink4 with given-x4;"):
        dataset.check(load_protocol("given-x4"))
    with pytest.raises(IncompatibleError, match="the protocol asks for ×4"):
        dataset.check(load_protocol("given-x4t2"))


def test_shrink4_shrinks_before_use_and_marks_the_id(pair: Path) -> None:
    dataset = folder(pair, lq_size="shrink4")
    assert (dataset.id, dataset.files_id, dataset.lq_scale) == ("own[shrink4]", "own", 4)
    dataset.check(load_protocol("given-x4t2"))
    sample = apply_protocol(load_protocol("given-x4t2"), dataset.sources()[0])
    assert (len(sample.lq), sample.lq.height, sample.lq.width) == (2, 4, 6)
    assert "shrink4" in sample.lq.key
    assert any("was shrunk by 4" in note for note in sample.notes)
    with pytest.raises(IncompatibleError, match=r"given-x4.*; or dataset\.lq_size=gt with given-x1t2"):
        dataset.check(load_protocol("given-x1t2"))


def test_shrink_is_opencv_s_bicubic_of_the_whole_image() -> None:
    frames = torch.randint(0, 256, (2, 3, *SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    small = shrink(frames)
    assert small.shape == (2, 3, 4, 6)
    for frame, result in zip(frames.numpy(), small.numpy(), strict=True):
        image = np.ascontiguousarray(frame.transpose(1, 2, 0))
        expected = cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_CUBIC)
        assert np.array_equal(result.transpose(1, 2, 0), expected)


@pytest.mark.parametrize("choice", ["gt", "shrink4"])
def test_smaller_lq_needs_no_choice_and_takes_none(tmp_path: Path, make_clip: MakeClip, choice: str) -> None:
    make_clip(tmp_path / "GT" / "a", 3, SIZE)
    make_clip(tmp_path / "LQ" / "a", 3, (4, 6))
    assert folder(tmp_path).lq_scale == 4
    assert apply_protocol(load_protocol("given-x4"), folder(tmp_path).sources()[0]).out_frames == 3
    with pytest.raises(LqSizeError, match=r"has no meaning; got dataset\.lq_size=.*leave dataset\.lq_size out"):
        folder(tmp_path, lq_size=choice).check(load_protocol("given-x4"))


def test_sides_that_are_no_multiples_of_4_cannot_be_shrunk(tmp_path: Path, make_clip: MakeClip) -> None:
    for role in ("GT", "LQ"):
        make_clip(tmp_path / role / "a", 3, (18, 24))
    with pytest.raises(DataError, match="multiples of 4"):
        folder(tmp_path, lq_size="shrink4").check(load_protocol("given-x4"))
    folder(tmp_path, lq_size="gt").check(load_protocol("given-x1t2"))


def test_one_clip_of_another_size_fails_only_itself(tmp_path: Path, make_clip: MakeClip) -> None:
    for name, size in (("a", (4, 6)), ("b", SIZE)):
        make_clip(tmp_path / "GT" / name, 3, SIZE)
        make_clip(tmp_path / "LQ" / name, 3, size)
    dataset = folder(tmp_path)
    dataset.check(load_protocol("given-x4"))
    good, bad = dataset.sources()
    assert apply_protocol(load_protocol("given-x4"), good).out_frames == 3
    with pytest.raises(LqSizeError, match="clip 'b'"):
        apply_protocol(load_protocol("given-x4"), bad)


@pytest.mark.parametrize("name", ["realvsr", "mvsr4x"])
def test_the_card_speaks_where_gt_is_absent(tmp_path: Path, make_clip: MakeClip, name: str) -> None:
    make_clip(tmp_path / "LQ" / "a", 3, SIZE)
    with pytest.raises(LqSizeError, match="GT is not here"):
        build_dataset(name, {"root": str(tmp_path)}).check(load_protocol("given-x4t2up"))
    read = build_dataset(name, {"root": str(tmp_path), "lq_size": "shrink4"})
    assert read.id.endswith("shrink4]")
    lq = read.sources()[0].lq
    assert lq is not None
    assert (lq.height, lq.width) == (4, 6)
    with pytest.raises(LqSizeError, match="no GT"):  # no card says so of anyone's own files
        folder(tmp_path, lq_size="shrink4").check(load_protocol("given-x4t2up"))


def test_an_unknown_value_is_refused_for_every_dataset(tmp_path: Path) -> None:
    for name in ("folder", "vid4", "realvsr"):
        with pytest.raises(ConfigError, match=r"dataset\.lq_size is unknown; got 'half'; accepted: gt .* shrink4"):
            build_dataset(name, {"root": str(tmp_path), "lq_size": "half"})
