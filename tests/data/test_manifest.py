"""Manifest files: what is written is read again, what is wrong is refused, and every difference is named."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from stvsr_bench.core.errors import DataError
from stvsr_bench.core.hashing import clip_hash
from stvsr_bench.data.manifest import MARK, Difference, Entry, Manifest, differences, read_manifest, write_manifest


def digests(*frames: int) -> list[bytes]:
    return [hashlib.sha256(bytes([frame])).digest() for frame in frames]


def entry(*frames: int, clip: str = "walk", role: str = "gt", size: tuple[int, int] = (8, 12)) -> Entry:
    return Entry.of(clip, role, size, digests(*frames))


def manifest(*entries: Entry, dataset: str = "vid4[full]") -> Manifest:
    return Manifest(dataset, 2, entries)


def texts(expected: Entry, found: Entry) -> list[str]:
    return [difference.text for difference in differences(manifest(expected), manifest(found))]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    odd = ["a b", "a,b", 'q"uote', "..", "x.y", "café 日本", "line\nbreak", " "]
    written = manifest(*(entry(0, 1, clip=name) for name in odd), entry(3, role="lq/BIx4"), dataset="my clips[a,b]")
    write_manifest(tmp_path / "new" / "m.csv", written)
    assert read_manifest(tmp_path / "new" / "m.csv") == written
    assert written.name == "my clips"


def test_the_entry_holds_the_clip_hash_and_a_mark_for_each_frame() -> None:
    made = entry(5, 6)
    assert made.sha256 == clip_hash(digests(5, 6))
    assert made.marks == [digest.hex()[:MARK] for digest in digests(5, 6)]


def test_long_clips_fit_into_one_field(tmp_path: Path) -> None:
    long = Entry.of("a", "gt", (8, 8), digests(1) * 20_000)  # beyond the csv module's own limit
    write_manifest(tmp_path / "m.csv", manifest(long))
    assert read_manifest(tmp_path / "m.csv").entries == (long,)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ((0, 1, 2, 3, 4), []),
        ((0, 1, 9, 3, 4), ["frame 2: other pixels"]),
        ((0, 8, 9, 3, 4), ["frames 1-2: other pixels"]),
        ((9, 1, 2, 3, 8), ["frame 0: other pixels", "frame 4: other pixels"]),
        ((0, 1, 3, 4), ["4 frames, not 5", "frame 2 of the manifest: missing"]),
        ((0, 4), ["2 frames, not 5", "frames 1-3 of the manifest: missing"]),
        ((0, 1, 2, 9, 3, 4), ["6 frames, not 5", "frame 3 here: not in the manifest"]),
        ((0, 1, 2, 3, 4, 5, 6), ["7 frames, not 5", "frames 5-6 here: not in the manifest"]),
        ((1, 0, 2, 3, 4), ["frame 0 of the manifest: missing", "frame 1 here: not in the manifest"]),
    ],
)
def test_every_frame_that_differs_is_named(found: tuple[int, ...], expected: list[str]) -> None:
    changed = texts(entry(0, 1, 2, 3, 4), entry(*found))
    if found == (1, 0, 2, 3, 4):  # two frames swapped: told as one moved, either of the two
        assert len(changed) == 2
        assert any("missing" in text for text in changed)
    else:
        assert changed == expected


def test_sizes_roles_and_clips_that_differ() -> None:
    assert texts(entry(0), entry(0, size=(8, 16))) == ["8 rows × 16 columns, not 8 × 12: every frame"]
    found = differences(manifest(entry(0), entry(1, clip="city")), manifest(entry(0), entry(1, role="lq")))
    assert found == [
        Difference("city", "gt", "missing; the manifest lists 1 frames"),
        Difference("walk", "lq", "not in the manifest"),
    ]
    assert str(found[0]) == "clip 'city' (gt): missing; the manifest lists 1 frames"


def test_the_order_of_clips_does_not_count() -> None:
    first, second = entry(0), entry(1, clip="city")
    assert differences(manifest(first, second), manifest(second, first)) == []


def test_a_difference_that_marks_do_not_show_is_still_one() -> None:
    made = entry(0, 1)
    assert texts(made, replace(made, sha256="0" * 64)) == ["other pixels in frames that their marks do not tell apart"]


def test_only_the_clips_asked_for() -> None:
    whole = manifest(entry(0), entry(1, clip="city"), entry(2, clip="city", role="lq"))
    assert [(e.clip, e.role) for e in whole.limited_to(["city"]).entries] == [("city", "gt"), ("city", "lq")]


LINES = 3  # title, columns, one clip


@pytest.mark.parametrize(
    ("line", "old", "new", "message"),
    [
        (0, '"version": 1', '"version": 2', r"is of another version; got version 2; accepted: version 1"),
        (0, '"version": 1', '"version": "1"', "is of another version"),
        (0, "# stvsr-bench manifest", "# other", "is no whole manifest; got a first line without"),
        (0, '"dataset"', '"dataset', "a first line that cannot be read"),
        (0, '"card_version": 2', '"card_version": null', "without dataset or card_version"),
        (1, "sha256", "md5", "columns clip, role, frames, height, width, md5, frame_marks"),
        (2, ",gt,2,", ",gt,two,", "line 3: frames, height, width or sha256 of clip 'walk'"),
        (2, ",gt,2,", ",gt,3,", "has no mark for each of its 3 frames"),
        (2, ",gt,2,", ",gt,", "line 3 has 6 columns"),
    ],
)
def test_what_is_no_manifest_of_this_version_is_refused(
    tmp_path: Path, line: int, old: str, new: str, message: str
) -> None:
    path = tmp_path / "m.csv"
    write_manifest(path, manifest(entry(0, 1)))
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    assert len(lines) == LINES
    assert old in lines[line]
    lines[line] = lines[line].replace(old, new)
    path.write_text("".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_manifest(path)


def test_doubled_lines_foreign_files_and_missing_ones(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    write_manifest(path, manifest(entry(0), entry(1)))
    with pytest.raises(DataError, match=r"clip 'walk' \(gt\) twice"):
        read_manifest(path)
    path.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    with pytest.raises(DataError, match="is no whole manifest"):
        read_manifest(path)
    with pytest.raises(DataError, match="cannot be read; got No such file"):
        read_manifest(tmp_path / "nowhere.csv")
