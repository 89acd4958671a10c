"""Every layout in which copies of the benchmark datasets circulate: files are made, found, paired and read in order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from stvsr_bench.data.factory import build_dataset
from stvsr_bench.data.layout import FORMS, GT_ROLES, LQ_ROLES
from stvsr_bench.video.names import IMAGE_EXTS, VIDEO_EXTS
from stvsr_bench.video.writing import open_writer

GT_SIZE, LQ_SIZE = (16, 24), (4, 6)
FRAMES = 12  # more than ten, so that names without padding sort wrongly as text
LQ_LEVEL = 100  # LQ frame i holds 100 + i, GT frame i holds i


class Copy(NamedTuple):
    """A copy of a dataset: where GT and LQ of a clip lie (``{}`` is the clip), how frames are named, what is found."""

    dataset: str
    clips: tuple[str, ...]
    form: str
    gt: str | None
    gt_name: str = "{:04d}.png"
    lq: tuple[str, ...] = ()
    lq_name: str | None = None
    lq_size: tuple[int, int] = LQ_SIZE
    first: int = 0
    extra: tuple[str, ...] = ()
    options: dict[str, Any] = {}
    roles: tuple[str | None, tuple[str, ...]] = (None, ())


ABOVE, BELOW, SCALE, PLAIN = FORMS[:4]
VIDEO_ABOVE, VIDEO = FORMS[4:6]
COPIES: dict[str, Copy] = {
    "udm10, mmagic": Copy(
        "udm10", ("000", "001"), ABOVE, "GT/{}", lq=("BIx4/{}", "BDx4/{}"), options={"lq_role": "BDx4"},
        roles=("GT", ("BIx4", "BDx4")),
    ),
    "udm10, pfnl": Copy(
        "udm10", ("archpeople", "lake"), BELOW, "{}/truth", lq=("{}/blur4",), roles=("truth", ("blur4",))
    ),
    "udm10, dove": Copy(
        "udm10", ("000", "009"), ABOVE, "GT/{}", lq=("LQ/{}",), roles=("GT", ("LQ",)),
        extra=("GT-Video/000.mkv", "LQ-Video/000.mkv"),
    ),
    "udm10, dove videos": Copy(
        "udm10", ("000", "009"), VIDEO_ABOVE, "GT-Video/{}.mkv", lq=("LQ-Video/{}.mkv",),
        roles=("GT-Video", ("LQ-Video",)),
    ),
    "vid4, mmagic": Copy(
        "vid4", ("calendar", "walk"), ABOVE, "GT/{}", "{:08d}.png", lq=("BIx4/{}",), roles=("GT", ("BIx4",)),
        extra=("meta_info_Vid4_GT.txt",),
    ),
    "vid4, sof-vsr (from 1, other names for LQ)": Copy(
        "vid4", ("calendar", "walk"), BELOW, "{}/hr", "hr_{:02d}.png", first=1, lq=("{}/lr_x4",),
        lq_name="lr_{:02d}.png", roles=("hr", ("lr_x4",)),
    ),
    "vid4, sof-vsr BI and BD": Copy(
        "vid4", ("calendar", "walk"), BELOW, "{}/hr", "hr_{:02d}.png", first=1, lq=("{}/lr_x4_BI", "{}/lr_x4_BD"),
        lq_name="lr_{:02d}.png", options={"lq_role": "lr_x4_BI"}, roles=("hr", ("lr_x4_BI", "lr_x4_BD")),
    ),
    "sof-vsr training (numbers not padded)": Copy(
        "folder", ("a", "b"), BELOW, "{}/hr", "hr{:d}.png", lq=("{}/lr_x4",), lq_name="lr{:d}.png",
        roles=("hr", ("lr_x4",)),
    ),
    "vid4, pfnl": Copy("vid4", ("city", "foliage"), BELOW, "{}/truth", lq=("{}/blur4",), roles=("truth", ("blur4",))),
    "spmcs, original": Copy(
        "spmcs", ("car05_001", "hdclub_003_001"), BELOW, "{}/truth", lq=("{}/input4",), roles=("truth", ("input4",)),
        extra=("car05_001/input2/0000.png", "car05_001/input3/0000.png"),
    ),
    "spmcs, mmagic": Copy(
        "spmcs", ("000", "001"), ABOVE, "GT/{}", lq=("BIx4/{}",), roles=("GT", ("BIx4",)),
        extra=("meta_info_SPMCS_GT.txt",),
    ),
    "reds4": Copy(
        "reds4", ("000", "011", "015", "020"), ABOVE, "GT/{}", "{:08d}.png", lq=("sharp_bicubic/{}",),
        roles=("GT", ("sharp_bicubic",)),
    ),
    "reds4 among the training clips": Copy(
        "reds4", ("000", "011", "015", "020"), ABOVE, "train_sharp/{}", "{:08d}.png",
        lq=("train_sharp_bicubic/X4/{}",), roles=("train_sharp", ("train_sharp_bicubic/X4",)),
        extra=("train_sharp/001/00000000.png", "train_sharp_bicubic/X4/001/00000000.png"),
    ),
    "reds30, official, one folder too many": Copy(
        "reds30", ("000", "029"), ABOVE, "val/val_sharp/{}", "{:08d}.png", lq=("val/val_sharp_bicubic/X4/{}",),
        roles=("val_sharp", ("val_sharp_bicubic/X4",)),
    ),
    "reds, LQ alone": Copy(
        "folder", ("000", "001"), SCALE, None, "{:08d}.png", lq=("sharp_bicubic/X4/{}",),
        roles=(None, ("sharp_bicubic/X4",)),
    ),
    "youhq40, videos": Copy("youhq40", ("clip 1", "clip 2"), VIDEO, "{}.mp4"),
    "youhq40, folders": Copy("youhq40", ("0001", "0002"), PLAIN, "{}"),
    "gopro (six digits)": Copy("gopro", ("GOPR0384_11_00", "GOPR0881_11_01"), PLAIN, "{}", "{:06d}.png", first=1),
    "mvsr4x, two lenses": Copy(
        "mvsr4x", ("065", "232", "465"), ABOVE, "tele/{}", "{:05d}.png", lq=("wide/{}",), lq_size=GT_SIZE,
        options={"lq_size": "gt"}, roles=("tele", ("wide",)),
    ),
    "mvsr4x, dove": Copy(
        "mvsr4x", ("065", "232"), ABOVE, "GT/{}", lq=("LQ/{}",), lq_size=GT_SIZE, options={"lq_size": "gt"},
        roles=("GT", ("LQ",)),
    ),
    "realvsr, GT_test and LQ_test": Copy(
        "realvsr", ("018", "211"), ABOVE, "GT_test/{}", "{:05d}.png", lq=("LQ_test/{}",), lq_size=GT_SIZE,
        options={"lq_size": "gt"}, roles=("GT_test", ("LQ_test",)),
    ),
    "realvsr, eavsr": Copy(
        "realvsr", ("018", "211"), ABOVE, "HR_test/{}", "{:05d}.png", lq=("LR_test/{}",), lq_size=GT_SIZE,
        options={"lq_size": "gt"}, roles=("HR_test", ("LR_test",)),
    ),
    "videolq": Copy("videolq", ("000", "049"), PLAIN, None, lq=("{}",), lq_name="{:08d}.png"),
    "videolq, dove": Copy("videolq", ("000", "049"), ABOVE, None, lq=("LQ/{}",), roles=(None, ("LQ",))),
    "videolq, dove videos": Copy(
        "videolq", ("000", "049"), VIDEO_ABOVE, None, lq=("LQ-Video/{}.mkv",), roles=(None, ("LQ-Video",))
    ),
    "hq-vsr (flat videos)": Copy("folder", ("0001", "0002"), VIDEO, "{}.mp4", options={"kind": "synthetic"}),
    "adobe240 (numbers not padded)": Copy(
        "folder", ("720p_240fps_1", "GOPR9633"), PLAIN, "{}", "{:d}.png", options={"kind": "synthetic"}
    ),
    "frames with a word in front": Copy(
        "folder", ("a", "b"), PLAIN, "{}", "Frame {:03d}.png", options={"kind": "synthetic"}
    ),
    "frames called im1": Copy("folder", ("a", "b"), PLAIN, "{}", "im{:d}.png", first=1, options={"kind": "synthetic"}),
}  # fmt: skip


def write(
    path: Path, name: str, size: tuple[int, int], level: int, first: int, make_numbered: Callable[..., Path]
) -> None:
    """Write a clip whose frame i holds ``level + i``: a folder, or a video where the path says so."""
    if path.suffix.lower() not in VIDEO_EXTS:
        make_numbered(path, [name.format(first + i) for i in range(FRAMES)], size, level)
        return
    frames = torch.arange(level, level + FRAMES, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, *size)
    lossless = path.suffix == ".mkv"
    with open_writer(path, "ffv1" if lossless else "mp4", *size) as writer:
        writer.write(frames.contiguous() if lossless else 10 * frames.contiguous())


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_found_paired_and_read_in_order(
    tmp_path: Path, make_numbered: Callable[..., Path], copy: str
) -> None:
    facts = COPIES[copy]
    for clip in facts.clips:
        if facts.gt is not None:
            write(tmp_path / facts.gt.format(clip), facts.gt_name, GT_SIZE, 0, facts.first, make_numbered)
        for position, lq in enumerate(facts.lq):
            level = LQ_LEVEL if facts.options.get("lq_role") in (None, *Path(lq).parts) else 200 + position
            name = facts.lq_name or facts.gt_name
            write(tmp_path / lq.format(clip), name, facts.lq_size, level, facts.first, make_numbered)
    for name in facts.extra:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (*IMAGE_EXTS, *VIDEO_EXTS):  # what is not to be read must not be looked into
            path.write_bytes(b"never read")
        else:
            path.touch()

    dataset = build_dataset(facts.dataset, {"root": str(tmp_path), **facts.options})
    assert dataset.layout.form == facts.form
    assert (dataset.layout.gt_role, dataset.layout.lq_roles) == facts.roles
    sources = {source.name: source for source in dataset.sources()}
    assert sorted(sources) == sorted(facts.clips)
    for source in sources.values():
        assert source.errors == {}
        gt = source.gt
        lq = source.lq or (source.plain if facts.gt is None else None)
        assert (gt is not None, lq is not None) == (facts.gt is not None, bool(facts.lq))
        if gt is not None:
            assert (len(gt), gt.height, gt.width) == (FRAMES, *GT_SIZE)
            lossy = facts.gt is not None and facts.gt.endswith(".mp4")
            values = [float(frame.float().mean()) for frame in gt[:]]
            expected = [10.0 * i if lossy else i for i in range(FRAMES)]
            assert values == pytest.approx(expected, abs=4 if lossy else 0)
        if lq is not None:
            assert (len(lq), lq.height, lq.width) == (FRAMES, *facts.lq_size)
            assert [int(frame[0, 0, 0]) for frame in lq[:]] == [LQ_LEVEL + i for i in range(FRAMES)]


def test_the_cases_cover_every_form_and_role_of_a_dataset() -> None:
    """A layout that only the table of names knows, and no copy here uses, would be untested."""
    assert {copy.form for copy in COPIES.values()} >= set(FORMS[:6])
    used = {part for copy in COPIES.values() for part in (copy.roles[0], *copy.roles[1])}
    named_by_datasets = {
        *("GT", "GT-Video", "truth", "hr", "tele", "HR_test", "GT_test", "val_sharp", "train_sharp"),
        *("LQ", "LQ-Video", "BIx4", "BDx4", "blur4", "input4", "lr_x4", "lr_x4_BI", "lr_x4_BD", "sharp_bicubic"),
        *("wide", "LR_test", "LQ_test", "train_sharp_bicubic/X4", "val_sharp_bicubic/X4"),
    }
    assert named_by_datasets <= used
    assert {role.partition("/")[0] for role in named_by_datasets} <= {*GT_ROLES, *LQ_ROLES}


def test_clips_of_training_sets_are_left_out_and_said(tmp_path: Path, make_numbered: Callable[..., Path]) -> None:
    for clip in ("000", "001", "011"):
        make_numbered(tmp_path / "train_sharp" / clip, ["0.png", "1.png"], GT_SIZE)
    dataset = build_dataset("reds4", {"root": str(tmp_path)})
    assert dataset.order == ["000", "011"]
    assert any("1 clips in the folder belong to no part" in note for note in dataset.notes)
