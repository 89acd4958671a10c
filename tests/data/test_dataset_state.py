"""What lies on disk, told from names: it must agree with what a run would say, without opening anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stvsr_bench.core import registry
from stvsr_bench.core.dataset_card import DatasetCard
from stvsr_bench.data.dataset import Dataset
from stvsr_bench.data.state import dataset_state

Touch = Callable[..., None]
MakeClip = Callable[..., Path]


def card(**changes: Any) -> DatasetCard:
    variants = {
        "full": {"summary": "all", "n_clips": 2, "clips": ["b", "a"], "frames": {"b": 5, "a": 4}},
        "first3": {"summary": "3", "n_clips": 2, "clips": ["b", "a"], "frames": 3, "cut_to": 3},
    }
    facts = {"name": "pair", "version": 1, "title": "P", "summary": "s", "source": "t", "licence": "CC0"}
    return DatasetCard.model_validate({**facts, "kind": "synthetic", "variants": variants, **changes})


def frames(folder: str, count: int) -> list[str]:
    return [f"{folder}/{i:04d}.png" for i in range(count)]


CASES: dict[str, tuple[dict[str, int], dict[str, Any], str, str]] = {
    "whole": ({"GT/a": 4, "GT/b": 5}, {}, "present", "2 of 2"),
    "another variant": ({"GT/a": 3, "GT/b": 3}, {}, "present", "2 of 2"),
    "a clip is missing": ({"GT/b": 5}, {}, "incomplete", "1 of 2"),
    "a frame is missing": ({"GT/a": 4, "GT/b": 4}, {}, "other", "2 of 2"),
    "a clip of another name": ({"GT/a": 4, "GT/b": 5, "GT/c": 1}, {}, "other", "3 of 2"),
    "cut on demand": ({"GT/a": 4, "GT/b": 5}, {"variant": "first3"}, "present", "2 of 2"),
    "no roles": ({"a": 4, "b": 5}, {}, "present", "2 of 2"),
    "LQ of one clip only": ({"GT/a": 4, "GT/b": 5, "LQ/a": 4}, {}, "present", "2 of 2"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_state_agrees_with_what_a_run_says(tmp_path: Path, make_clip: MakeClip, case: str) -> None:
    clips, options, state, count = CASES[case]
    for folder, n in clips.items():
        make_clip(tmp_path / folder, n)
    options = {"root": str(tmp_path), **options}
    found = dataset_state(card(), options)
    assert (found.state, found.count, found.root) == (state, count, tmp_path)
    dataset = Dataset(card(), options)
    assert (dataset.unranked is None) == (state == "present")
    assert (found.variant or "other") == dataset.variant
    assert bool(found.details) == (state != "present")


def test_nothing_is_opened(tmp_path: Path, touch: Touch) -> None:
    """Empty files are no images; only their names count."""
    touch(tmp_path, *frames("GT/a", 4), *frames("GT/b", 5), "GT/b/.hidden.png", "GT/b/Thumbs.db", "GT/b/list.txt")
    assert dataset_state(card(), {"root": tmp_path}).state == "present"


def test_frames_of_videos_are_not_counted(tmp_path: Path, touch: Touch) -> None:
    touch(tmp_path, "GT/a.mkv", "GT/b.mkv")
    assert dataset_state(card(), {"root": tmp_path}).state == "present"


def test_pairs_need_both(tmp_path: Path, touch: Touch) -> None:
    touch(tmp_path, *frames("GT/a", 4), *frames("GT/b", 5), *frames("LQ/a", 4))
    found = dataset_state(card(kind="real"), {"root": tmp_path})
    assert (found.state, found.details) == ("incomplete", ("clips without LQ: b",))
    touch(tmp_path, *frames("LQ/b", 5), *frames("LQ/c", 5))
    found = dataset_state(card(kind="real"), {"root": tmp_path})
    assert (found.state, found.count) == ("incomplete", "2 of 2")
    assert found.details == ("clips without GT: c",)


def test_absent_and_unreadable(tmp_path: Path, touch: Touch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STVSR_BENCH_DATA", str(tmp_path))
    found = dataset_state(card())
    assert (found.state, found.root, found.count, found.expected) == ("absent", tmp_path / "pair", None, 2)
    touch(tmp_path, "Pair/notes.txt")
    found = dataset_state(card())
    assert (found.state, found.root) == ("unreadable", tmp_path / "Pair")
    assert "the layout is unknown" in found.details[0]
    monkeypatch.setenv("STVSR_BENCH_DATA", str(tmp_path / "nowhere"))
    assert dataset_state(card()).state == "absent"


def test_a_file_in_place_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pair.txt").touch()
    assert dataset_state(card(), {"root": tmp_path / "pair.txt"}).state == "unreadable"


def test_what_is_not_looked_for(tmp_path: Path, touch: Touch) -> None:
    announced = card(status="announced", missing="the list")
    assert (dataset_state(announced).state, dataset_state(announced).details) == ("announced", ("the list",))
    touch(tmp_path, *frames("a", 4))
    assert dataset_state(announced, {"root": tmp_path}).state == "announced"
    assert dataset_state(card(kind=None), {"root": "???"}).state == "yours"
    assert dataset_state(card(entry="code.py:Mine"), {"root": tmp_path}).state == "not known"


def test_built_in_clips_are_no_fault_before_they_are_made(tmp_path: Path, touch: Touch) -> None:
    made = card(entry="code.py:Mine", built_in=True)
    assert dataset_state(made, {"root": tmp_path / "new"}).state == "built in"
    touch(tmp_path, ".lock")
    assert dataset_state(made, {"root": tmp_path}).state == "built in"
    touch(tmp_path, *frames("GT/a", 4))
    assert dataset_state(made, {"root": tmp_path}).state == "incomplete"


def test_without_variants_every_count_is_right(tmp_path: Path, touch: Touch) -> None:
    touch(tmp_path, *frames("a", 4), *frames("b", 1))
    found = dataset_state(card(variants={}), {"root": tmp_path})
    assert (found.state, found.count) == ("present", "2")


def test_vid4_and_videolq(shared_data: Path) -> None:
    names = registry.datasets()
    found = dataset_state(names["vid4"].card, {"root": shared_data / "Vid4"})
    assert (found.state, found.variant, found.count) == ("present", "first31", "4 of 4")
    found = dataset_state(names["videolq"].card, {"root": shared_data / "VideoLQ_sample"})
    assert (found.state, found.count) == ("other", "1 of 50")
    assert "15 frames, not 100" in found.details[0]
