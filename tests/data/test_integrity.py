"""Every frame is decoded and hashed, and what is wrong with files is told frame by frame."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from stvsr_bench.core.hashing import clip_hash, frame_digest
from stvsr_bench.data import decoded
from stvsr_bench.data.dataset import Dataset
from stvsr_bench.data.decoded import recall, remember
from stvsr_bench.data.factory import build_dataset
from stvsr_bench.data.integrity import Checked, decode, twins
from stvsr_bench.data.inventory import inventory
from stvsr_bench.video.writing import open_writer

MakeClip = Callable[..., Path]


def folder(root: Path, **options: Any) -> Dataset:
    return build_dataset("folder", {"root": str(root), "name": "own", **options})


def check(dataset: Dataset, threads: int | None = None) -> list[Checked]:
    return list(decode(inventory(dataset, dataset.sources()), threads))


def only(dataset: Dataset) -> Checked:
    (one,) = check(dataset)
    return one


def noise(path: Path, size: tuple[int, int] = (8, 12), seed: int = 0, dtype: Any = np.uint8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (*size, 3), dtype)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


@pytest.fixture
def walk(tmp_path: Path) -> Path:
    for i in range(7):
        noise(tmp_path / "own" / "walk" / f"{i:04d}.png", seed=i)
    return tmp_path / "own"


# ------------------------------------------------------------------ hashes


@pytest.mark.parametrize("threads", [1, 3])
def test_hashes_are_those_of_the_decoded_pixels(walk: Path, threads: int) -> None:
    expected = []
    for path in sorted((walk / "walk").iterdir()):
        pixels = np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])
        expected.append(frame_digest(pixels.tobytes(), *pixels.shape[:2]))
    (one,) = check(folder(walk), threads)
    assert one.entry is not None
    assert one.entry.sha256 == clip_hash(expected)
    assert (one.entry.clip, one.entry.role, one.entry.frames) == ("walk", "plain", 7)
    assert (one.entry.height, one.entry.width, one.faults, one.warnings) == (8, 12, (), ())


def test_a_video_has_the_hash_of_its_frames(tmp_path: Path, walk: Path) -> None:
    frames = folder(walk).sources()[0].plain
    assert frames is not None
    with open_writer(tmp_path / "video" / "walk.mkv", "ffv1", 8, 12) as writer:
        writer.write(frames[:])
    assert only(folder(tmp_path / "video")).entry == only(folder(walk)).entry


def test_progress_ends_at_the_number_of_frames(walk: Path) -> None:
    shutil.copytree(walk / "walk", walk / "city")
    told: dict[str, list[tuple[int, int]]] = {}
    lock = threading.Lock()

    def listen(label: str, done: int, total: int) -> None:
        with lock:
            told.setdefault(label, []).append((done, total))

    dataset = folder(walk)
    list(decode(inventory(dataset, dataset.sources()), 3, listen))
    assert told == {f"{clip} (plain)": [(i, 7) for i in range(1, 8)] for clip in ("walk", "city")}


# ------------------------------------------------------------------ roles


def test_all_kinds_of_lq_and_gt_sized_lq_are_hashed_as_they_are_stored(tmp_path: Path, make_clip: MakeClip) -> None:
    make_clip(tmp_path / "GT" / "a", size=(16, 24))
    make_clip(tmp_path / "BIx4" / "a", size=(4, 6), first=50)
    make_clip(tmp_path / "BDx4" / "a", size=(4, 6), first=60)
    entries = [one.entry for one in check(folder(tmp_path))]
    assert [(e.role, e.height) for e in entries if e] == [("gt", 16), ("lq/BIx4", 4), ("lq/BDx4", 4)]
    chosen = [one.entry for one in check(folder(tmp_path, lq_role="BDx4"))]
    assert [e.role for e in chosen if e] == ["gt", "lq"]
    assert chosen[1] is not None
    assert entries[2] is not None
    assert chosen[1].sha256 == entries[2].sha256

    make_clip(tmp_path / "real" / "GT" / "a", size=(16, 24))
    make_clip(tmp_path / "real" / "LQ" / "a", size=(16, 24), first=50)
    found = [check(folder(tmp_path / "real", lq_size=choice)) for choice in (None, "gt", "shrink4")]
    assert [[(o.entry.role, o.entry.height) for o in one if o.entry] for one in found] == [[("gt", 16), ("lq", 16)]] * 3
    assert len({one[1].entry.sha256 for one in found if one[1].entry}) == 1


def test_renamed_copies_have_the_card_s_names(tmp_path: Path, make_clip: MakeClip) -> None:
    make_clip(tmp_path / "GT" / "003", size=(16, 24))
    dataset = build_dataset("udm10", {"root": str(tmp_path)})
    one = only(dataset)
    assert one.entry is not None
    assert (one.entry.clip, one.item.label) == ("band", "003 = band (gt)")


def test_a_variant_cut_from_longer_files_is_hashed_as_it_is_used(tmp_path: Path, make_clip: MakeClip) -> None:
    sizes = {"calendar": (576, 720), "city": (576, 704), "foliage": (480, 720), "walk": (480, 720)}
    for name, size in sizes.items():
        make_clip(tmp_path / "full" / name / "hr", 32, size)
        make_clip(tmp_path / "cut" / name / "hr", 31, size)
        (tmp_path / "full" / name / "hr" / "0031.png").write_bytes(b"never read")
    full = check(build_dataset("vid4", {"root": str(tmp_path / "full"), "variant": "first31"}))
    cut = check(build_dataset("vid4", {"root": str(tmp_path / "cut")}))
    assert [one.entry for one in full] == [one.entry for one in cut]
    assert all(one.entry and one.entry.frames == 31 and not one.faults for one in full)


# ------------------------------------------------------------------ what is wrong


def test_broken_frames_are_named_and_the_rest_is_looked_at(walk: Path) -> None:
    shutil.copytree(walk / "walk", walk / "city")
    data = (walk / "walk" / "0002.png").read_bytes()
    (walk / "walk" / "0002.png").write_bytes(data[:-20])
    (walk / "walk" / "0003.png").write_bytes(b"")
    noise(walk / "walk" / "0005.png", (8, 16))
    city, broken = check(folder(walk))
    assert (city.faults, broken.entry) == ((), None)
    assert city.entry is not None
    assert len(broken.faults) == 3
    for fault, parts in zip(
        broken.faults,
        (("frame 2", "0002.png", "truncated"), ("frame 3", "empty"), ("frame 5", "8 rows × 16 columns", "8 × 12")),
        strict=True,
    ):
        assert all(part in fault for part in parts)


def test_a_clip_that_cannot_be_opened_is_a_fault(walk: Path) -> None:
    (walk / "walk" / "0000.png").write_bytes(b"")
    one = only(folder(walk))
    assert one.entry is None
    assert "0000.png" in one.faults[0]


def test_a_damaged_video_is_a_fault(tmp_path: Path) -> None:
    frames = torch.randint(0, 256, (40, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "own" / "walk.mkv"
    with open_writer(path, "ffv1", 32, 32) as writer:
        writer.write(frames)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = bytes(3000)
    path.write_bytes(data)
    one = only(folder(tmp_path / "own"))
    assert one.entry is None
    assert len(one.faults) == 1
    assert "walk" in one.faults[0]


def test_a_missing_frame_in_the_middle(walk: Path) -> None:
    (walk / "walk" / "0003.png").unlink()
    one = only(folder(walk))
    assert one.entry is not None
    assert one.warnings == (
        "frames are missing or there twice, as their numbers are not even: '0004.png' follows '0002.png'",
    )


def test_a_frame_twice_under_two_spellings(walk: Path) -> None:
    shutil.copy(walk / "walk" / "0003.png", walk / "walk" / "3.png")
    (warning,) = only(folder(walk)).warnings
    assert "there twice" in warning
    assert "'3.png' follows '0003.png'" in warning or "'0003.png' follows '3.png'" in warning


@pytest.mark.parametrize("name", ["cover.png", "0003 (1).png", "0003 copy.png", "preview_0000.png"])
def test_foreign_images_among_the_frames(walk: Path, name: str) -> None:
    noise(walk / "walk" / name)
    (warning,) = only(folder(walk)).warnings
    assert warning == f"1 of 8 frames are named unlike the others and may be none: {name}"


def test_foreign_files_among_the_frames(walk: Path) -> None:
    for name in ("notes.txt", "0001.npy", ".DS_Store", "Thumbs.db"):
        (walk / "walk" / name).touch()
    one = only(folder(walk))
    assert one.warnings == ("2 files among the frames are no images and are left out: 0001.npy, notes.txt",)
    assert one.entry is not None
    assert one.entry.frames == 7


def test_names_without_any_order(tmp_path: Path) -> None:
    for i, name in enumerate(("dusk", "dawn", "noon")):
        noise(tmp_path / "own" / "walk" / f"{name}.png", seed=i)
    (warning,) = only(folder(tmp_path / "own")).warnings
    assert warning == "the frames' names follow no common pattern; their order is that of dawn.png, dusk.png, noon.png"


def test_another_image_format_among_the_frames(walk: Path) -> None:
    (walk / "walk" / "0003.jpg").touch()
    one = only(folder(walk))
    assert "mixes image formats" in one.faults[0]


def test_16_bit_frames_are_told_wherever_they_are(walk: Path) -> None:
    noise(walk / "walk" / "0004.png", dtype=np.uint16)
    (warning,) = only(folder(walk)).warnings
    assert warning == "16-bit samples became round(x/257) in 1 of 7 frames, the first is frame 4"
    for i in range(7):
        noise(walk / "walk" / f"{i:04d}.png", seed=i, dtype=np.uint16)
    assert only(folder(walk)).warnings == ("16-bit samples became round(x/257)",)


@pytest.mark.parametrize("target", ["0004.png", "nowhere.png"])
def test_a_frame_that_is_a_link_to_nothing_or_itself(walk: Path, target: str) -> None:
    (walk / "walk" / "0004.png").unlink()
    os.symlink(target, walk / "walk" / "0004.png")
    one = only(folder(walk))
    assert one.entry is None
    assert "links that lead nowhere or in a circle; got 0004.png" in one.faults[0]


def test_frames_that_are_links_to_files_are_read(walk: Path) -> None:
    os.rename(walk / "walk" / "0004.png", walk / ".elsewhere.png")
    os.symlink(walk / ".elsewhere.png", walk / "walk" / "0004.png")
    one = only(folder(walk))
    assert (one.faults, one.warnings) == ((), ())


@pytest.mark.parametrize("name", ["a b", "a..b", "walk.v2", "x.", "a,b=(c)", "café 日本", "-m"])
def test_odd_names(tmp_path: Path, name: str) -> None:
    for i in range(3):
        noise(tmp_path / name / name / f"{name} {i:02d}.png", seed=i)
    one = only(build_dataset("folder", {"root": str(tmp_path / name / ".." / name)}))
    assert one.entry is not None
    assert (one.entry.clip, one.faults, one.warnings) == (name, (), ())


# ------------------------------------------------------------------ two copies of one clip


def test_two_copies_of_a_clip_are_found(walk: Path) -> None:
    shutil.copytree(walk / "walk", walk / "walk copy")
    (warning,) = twins(check(folder(walk)))
    assert warning == "walk (plain) and walk copy (plain) hold the same pixels: two copies of one clip"
    (walk / "walk copy" / "0006.png").unlink()
    (warning,) = twins(check(folder(walk)))
    assert warning == "walk (plain) and walk copy (plain) share 6 frames: copies of one clip, or parts of it"


def test_clips_that_share_a_few_frames_are_no_copies(walk: Path) -> None:
    for i in range(7):
        noise(walk / "city" / f"{i:04d}.png", seed=i if i < 3 else 100 + i)
    assert twins(check(folder(walk))) == []


def test_lq_that_is_a_copy_of_gt_is_found(walk: Path) -> None:
    (walk / "LQ").mkdir()
    shutil.copytree(walk / "walk", walk / "LQ" / "walk")
    (walk / "GT").mkdir()
    os.rename(walk / "walk", walk / "GT" / "walk")
    (warning,) = twins(check(folder(walk)))
    assert warning.startswith("walk (gt) and walk (lq) hold the same pixels")


# ------------------------------------------------------------------ what is kept


def test_what_was_decoded_is_known_until_a_file_changes(
    walk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STVSR_BENCH_DATA", str(tmp_path / "data"))
    noise(walk / "walk" / "cover.png")
    first = only(folder(walk))
    assert recall(first.item) is None
    remember(first)
    (again,) = inventory(folder(walk), folder(walk).sources())
    known = recall(again)
    assert known is not None
    assert (known.entry, known.warnings, known.item) == (first.entry, first.warnings, again)
    os.utime(walk / "walk" / "0003.png", ns=(1, 1))
    (changed,) = inventory(folder(walk), folder(walk).sources())
    assert recall(changed) is None


def test_nothing_is_kept_of_a_broken_clip_and_damaged_notes_are_no_harm(
    walk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STVSR_BENCH_DATA", str(tmp_path / "data"))
    remember(only(folder(walk)))
    (note,) = (decoded.manifests_root() / ".decoded").iterdir()
    for text in ("", "{", "[]", '{"entry": {}}', "null"):
        note.write_text(text)
        (item,) = inventory(folder(walk), folder(walk).sources())
        assert recall(item) is None
    note.unlink()
    (walk / "walk" / "0002.png").write_bytes(b"")
    remember(only(folder(walk)))
    assert list((decoded.manifests_root() / ".decoded").iterdir()) == []


# ------------------------------------------------------------------ real clips


def test_real_clips(shared_data: Path) -> None:
    (one,) = check(build_dataset("videolq", {"root": str(shared_data / "VideoLQ_sample")}))
    assert (one.faults, one.warnings) == ((), ())
    assert one.entry is not None
    assert (one.entry.clip, one.entry.role, one.entry.frames) == ("demo_000", "lq", 15)
