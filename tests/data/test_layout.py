"""Layout detection on file names alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from stvsr_bench.core.errors import DataError
from stvsr_bench.data.layout import FORMS, GT_ROLES, LQ_ROLES, Layout, detect_layout

Touch = Callable[..., None]


def summary(root: Path, layout: Layout) -> dict[str, tuple[str | None, dict[str, str], str | None]]:
    """Paths relative to the root, by clip."""

    def short(path: Path | None) -> str | None:
        return None if path is None else path.relative_to(root).as_posix()

    return {
        name: (short(p.gt), {role: str(short(path)) for role, path in p.lq.items()}, short(p.plain))
        for name, p in layout.clips.items()
    }


CASES: dict[str, tuple[list[str], str, str | None, tuple[str, ...], dict[str, object]]] = {
    "mmagic": (
        ["GT/b/00000000.png", "GT/a/00000000.png", "BIx4/a/0.png", "BIx4/b/0.png", "meta_info_Vid4_GT.txt"],
        "root/ROLE/clip/frame",
        "GT",
        ("BIx4",),
        {"a": ("GT/a", {"BIx4": "BIx4/a"}, None), "b": ("GT/b", {"BIx4": "BIx4/b"}, None)},
    ),
    "pfnl": (
        ["lake/truth/1.png", "lake/blur4/1.png"],
        "root/clip/ROLE/frame",
        "truth",
        ("blur4",),
        {"lake": ("lake/truth", {"blur4": "lake/blur4"}, None)},
    ),
    "sof-vsr, LQ of one clip only": (
        ["city/hr/hr_01.png", "calendar/hr/hr_01.webp", "calendar/lr_x4_matlab/lr_01.png"],
        "root/clip/ROLE/frame",
        "hr",
        ("lr_x4_matlab",),
        {
            "calendar": ("calendar/hr", {"lr_x4_matlab": "calendar/lr_x4_matlab"}, None),
            "city": ("city/hr", {}, None),
        },
    ),
    "reds official": (
        ["train_sharp/000/0.png", "train_sharp_bicubic/X4/000/0.png"],
        "root/ROLE/clip/frame",
        "train_sharp",
        ("train_sharp_bicubic/X4",),
        {"000": ("train_sharp/000", {"train_sharp_bicubic/X4": "train_sharp_bicubic/X4/000"}, None)},
    ),
    "reds LQ alone": (
        ["sharp_bicubic/X4/000/0.png"],
        "root/ROLE/X4/clip/frame",
        None,
        ("sharp_bicubic/X4",),
        {"000": (None, {"sharp_bicubic/X4": "sharp_bicubic/X4/000"}, None)},
    ),
    "videolq": (
        ["010/0.png", "9/0.png"],
        "root/clip/frame",
        None,
        (),
        {"9": (None, {}, "9"), "010": (None, {}, "010")},
    ),
    "dove videos": (
        ["GT-Video/a.mkv", "LQ-Video/a.mkv"],
        "root/ROLE/clip.video",
        "GT-Video",
        ("LQ-Video",),
        {"a": ("GT-Video/a.mkv", {"LQ-Video": "LQ-Video/a.mkv"}, None)},
    ),
    "dove with both": (
        ["GT/a/0.png", "LQ/a/0.png", "GT-Video/a.mkv", "LQ-Video/a.mkv"],
        "root/ROLE/clip/frame",
        "GT",
        ("LQ",),
        {"a": ("GT/a", {"LQ": "LQ/a"}, None)},
    ),
    "frames for GT, videos for LQ": (
        ["GT/a/0.png", "LQ/a.mp4"],
        "root/ROLE/clip/frame",
        "GT",
        ("LQ",),
        {"a": ("GT/a", {"LQ": "LQ/a.mp4"}, None)},
    ),
    "realvsr": (
        ["HR_test/000/00000.png", "LR_test/000/00000.png"],
        "root/ROLE/clip/frame",
        "HR_test",
        ("LR_test",),
        {"000": ("HR_test/000", {"LR_test": "LR_test/000"}, None)},
    ),
    "flat videos, one stem twice": (
        ["b.MP4", "a.mov", "a.mkv"],
        "root/clip.video",
        None,
        (),
        {"a.mkv": (None, {}, "a.mkv"), "a.mov": (None, {}, "a.mov"), "b": (None, {}, "b.MP4")},
    ),
    "several LQ": (
        ["GT/a/0.png", "BIx4/a/0.png", "BDx4/a/0.png"],
        "root/ROLE/clip/frame",
        "GT",
        ("BIx4", "BDx4"),
        {"a": ("GT/a", {"BIx4": "BIx4/a", "BDx4": "BDx4/a"}, None)},
    ),
    "role suffixes": (
        ["GT/walk_GT/0.png", "GT/city/0.png", "LQ/walk_x4_LQ/0.png", "LQ/city/0.png"],
        "root/ROLE/clip/frame",
        "GT",
        ("LQ",),
        {"city": ("GT/city", {"LQ": "LQ/city"}, None), "walk": ("GT/walk_GT", {"LQ": "LQ/walk_x4_LQ"}, None)},
    ),
    "case matters": (
        ["GT/Walk/0.png", "LQ/walk/0.png"],
        "root/ROLE/clip/frame",
        "GT",
        ("LQ",),
        {"Walk": ("GT/Walk", {}, None), "walk": (None, {"LQ": "LQ/walk"}, None)},
    ),
    "one clip with roles": (["GT/0.png", "LQ/0.png"], "root/ROLE/frame", "GT", ("LQ",), {}),
    "clip folders that look like roles, among others": (
        ["original/0.png", "walk/0.png"],
        "root/clip/frame",
        None,
        (),
        {"original": (None, {}, "original"), "walk": (None, {}, "walk")},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_layouts(tmp_path: Path, touch: Touch, case: str) -> None:
    files, form, gt_role, lq_roles, clips = CASES[case]
    touch(tmp_path, *files)
    layout = detect_layout(tmp_path)
    assert (layout.form, layout.gt_role, layout.lq_roles) == (form, gt_role, lq_roles)
    assert layout.form in FORMS
    expected = clips or {tmp_path.name: ("GT", {"LQ": "LQ"}, None)}
    found = summary(tmp_path, layout)
    assert found == expected
    assert list(found) == list(expected)  # natural order


@pytest.mark.parametrize("role", [*GT_ROLES, *LQ_ROLES])
def test_every_role_name_is_known_above_and_below_the_clip(tmp_path: Path, touch: Touch, role: str) -> None:
    touch(tmp_path, f"above/{role}/a/0.png", f"below/a/{role}/0.png")
    for root, form in (("above", "root/ROLE/clip/frame"), ("below", "root/clip/ROLE/frame")):
        layout = detect_layout(tmp_path / root)
        assert layout.form == form
        assert (layout.gt_role == role) == (role in GT_ROLES)
        assert (role in layout.lq_roles) == (role in LQ_ROLES)


def test_root_that_is_one_clip(tmp_path: Path, touch: Touch) -> None:
    touch(tmp_path / "walk", "0.png", "1.png")
    assert summary(tmp_path, detect_layout(tmp_path / "walk")) == {"walk": (None, {}, "walk")}
    touch(tmp_path, "x (1).mp4")
    assert summary(tmp_path, detect_layout(tmp_path / "x (1).mp4")) == {"x (1)": (None, {}, "x (1).mp4")}


def test_litter_and_loops_are_harmless(tmp_path: Path, touch: Touch) -> None:
    touch(tmp_path, "GT/a/0.png", ".DS_Store", "GT/.DS_Store", "GT/._a/0.png", "GT/Thumbs.db", "__MACOSX/GT/b/0.png")
    os.symlink(tmp_path, tmp_path / "GT" / "loop")
    os.symlink(tmp_path / "GT", tmp_path / "GT" / "a" / "up")
    os.symlink(tmp_path / "nowhere", tmp_path / "LQ")
    layout = detect_layout(tmp_path)
    assert summary(tmp_path, layout) == {"a": ("GT/a", {}, None)}
    (note,) = layout.notes  # litter is not worth a word; a link may have been meant
    for part in ("'LQ' is a link that leads nowhere", "'GT/loop' is a link that leads back", "'GT/a/up' is a link"):
        assert part in note


def test_circles_of_links(tmp_path: Path, touch: Touch) -> None:
    touch(tmp_path, "walk/0.png")
    os.symlink("circle", tmp_path / "circle")
    os.symlink("b", tmp_path / "a")
    os.symlink("a", tmp_path / "b")
    layout = detect_layout(tmp_path)
    assert list(layout.clips) == ["walk"]
    (note,) = layout.notes
    assert note.startswith("left out: ")
    assert all(f"'{name}' is a link that leads in a circle" in note for name in ("circle", "a", "b"))
    os.rename(tmp_path / "walk", tmp_path / ".hidden")
    with pytest.raises(DataError, match=r"the layout is unknown.* 'a' is a link that leads in a circle"):
        detect_layout(tmp_path)


def test_a_name_that_is_no_text_is_left_out_and_said(tmp_path: Path, touch: Touch) -> None:
    touch(tmp_path, "walk/0.png")
    os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9")
    layout = detect_layout(tmp_path)
    assert list(layout.clips) == ["walk"]
    assert layout.notes == ("left out: 'caf\\udce9' has a name that is not UTF-8",)


def test_a_link_to_itself_is_no_clip(tmp_path: Path, touch: Touch) -> None:
    touch(tmp_path / "walk", "0.png")
    os.symlink(tmp_path / "walk", tmp_path / "walk" / "again")
    assert summary(tmp_path, detect_layout(tmp_path / "walk")) == {"walk": (None, {}, "walk")}


def test_a_link_to_another_folder_is_followed(tmp_path: Path, touch: Touch) -> None:
    touch(tmp_path, "store/a/0.png", "root/x/0.png")
    os.symlink(tmp_path / "store" / "a", tmp_path / "root" / "a")
    assert list(detect_layout(tmp_path / "root").clips) == ["a", "x"]


def test_odd_names_stay_as_they_are(tmp_path: Path, touch: Touch) -> None:
    names = ["a b", "a,b", "a=b", "(1)", "~x", "café", "日本"]
    touch(tmp_path / "my, clips=(é) ~", *(f"GT/{n}/0.png" for n in names), *(f"LQ/{n}/0.png" for n in names))
    clips = detect_layout(tmp_path / "my, clips=(é) ~").clips
    assert set(clips) == set(names)
    assert all(c.gt and c.lq for c in clips.values())


def test_what_is_not_used_is_said(tmp_path: Path, touch: Touch) -> None:
    touch(tmp_path, "GT/a/0.png", "GT-Video/a.mkv", "extra/z/0.png", "poster.png", "b.mp4")
    (note,) = detect_layout(tmp_path).notes
    for part in ("'GT-Video'", "'extra'", "1 image(s)", "1 video(s)", "root/ROLE/clip/frame"):
        assert part in note
    assert "'GT'" not in note


def test_missing_root(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere' does not exist"):
        detect_layout(tmp_path / "nowhere")


def test_unknown_layout_lists_the_known_and_hints_at_the_level_below(tmp_path: Path, touch: Touch) -> None:
    touch(tmp_path, "a/b/c/d/0.png", "text.txt")
    with pytest.raises(DataError) as caught:
        detect_layout(tmp_path)
    assert "folders: a" in str(caught.value)
    assert all(form in str(caught.value) for form in FORMS)
    touch(tmp_path, "REDS4/GT/000/0.png")
    with pytest.raises(DataError, match=r"try dataset\.root=.*/REDS4"):
        detect_layout(tmp_path)
    touch(tmp_path, "REDS5/GT/000/0.png")
    with pytest.raises(DataError, match=r"root=.*/REDS4 or dataset\.root=.*/REDS5"):
        detect_layout(tmp_path)


def test_one_folder_too_many_is_followed_and_said(tmp_path: Path, touch: Touch) -> None:
    touch(tmp_path, "val/val_sharp/000/00000000.png", "val/val_sharp_bicubic/X4/000/00000000.png", "readme.txt")
    layout = detect_layout(tmp_path)
    assert (layout.gt_role, layout.lq_roles) == ("val_sharp", ("val_sharp_bicubic/X4",))
    assert layout.notes == ("the clips lie one level below, in 'val'",)
    (tmp_path / "train").mkdir()  # then it is not clear that nothing else was meant
    with pytest.raises(DataError, match=r"try dataset\.root=.*/val"):
        detect_layout(tmp_path)


def test_archives_are_named(tmp_path: Path, touch: Touch) -> None:
    touch(tmp_path, "GT_test.zip", "LQ_test.zip")
    with pytest.raises(DataError, match=r"unpack GT_test\.zip, LQ_test\.zip first"):
        detect_layout(tmp_path)


def test_a_file_that_is_no_video(tmp_path: Path, touch: Touch) -> None:
    touch(tmp_path, "x.txt")
    with pytest.raises(DataError, match="is a file, not a dataset"):
        detect_layout(tmp_path / "x.txt")


def test_real_data(shared_data: Path) -> None:
    vid4 = detect_layout(shared_data / "Vid4")
    assert (vid4.form, vid4.gt_role, vid4.lq_roles) == ("root/clip/ROLE/frame", "hr", ("lr_x4_matlab",))
    assert [name for name, paths in vid4.clips.items() if paths.lq] == ["calendar"]
    assert detect_layout(shared_data / "VideoLQ_sample").form == "root/clip/frame"
    assert len(detect_layout(shared_data / "real_world").clips) == 9
