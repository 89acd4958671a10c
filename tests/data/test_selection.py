"""Trials on a part of a dataset: which clips and frames are taken, and what is refused."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from stvsr_bench.core.errors import ClipError, ConfigError, DataError, UnknownNameError
from stvsr_bench.data.sample import SourceSample
from stvsr_bench.data.selection import Selection
from stvsr_bench.video.clip import ArrayClip


def _source(name: str, frames: int = 10) -> SourceSample:
    """A GT clip whose frame i holds the value i, and LQ beside it."""
    values = torch.arange(frames, dtype=torch.uint8).view(-1, 1, 1, 1)
    gt, lq = values.expand(-1, 3, 8, 8), values.expand(-1, 3, 2, 2)
    return SourceSample(name, ArrayClip(gt, name, Fraction(24)), ArrayClip(lq, name))


SOURCES = [_source(name) for name in ("calendar", "city", "foliage", "walk")]


def _names(**options: object) -> tuple[list[str], str | None]:
    kept, partial = Selection.of(options).apply(SOURCES, "vid4")
    return [source.name for source in kept], partial


def test_clips_keep_the_datasets_order() -> None:
    assert _names(clips="walk, calendar,walk") == (["calendar", "walk"], "dataset.clips=calendar,walk")
    assert _names(clips=["city"]) == (["city"], "dataset.clips=city")
    assert _names(clips="[city,walk]") == (["city", "walk"], "dataset.clips=city,walk")
    assert _names(clips="walk,foliage", limit=1) == (["foliage"], "dataset.clips=foliage,walk dataset.limit=1")


def test_all_of_it_is_no_part() -> None:
    everything = [source.name for source in SOURCES]
    assert _names() == _names(clips=None, frames=None, limit=None) == (everything, None)
    assert _names(clips="walk,foliage,city,calendar", limit=4) == (everything, None)


def test_an_unknown_clip_lists_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown clip 'calender'; accepted: nearest known: calendar.*'vid4'"):
        _names(clips="city,calender")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0:1", [0]), ("2:5", [2, 3, 4]), ("::3", [0, 3, 6, 9]), ("1:8:4", [1, 5]), (":2:", [0, 1]), ("8:99", [8, 9])],
)
def test_frames_are_sliced_before_the_protocol(text: str, expected: list[int]) -> None:
    kept, partial = Selection.of({"frames": text}).apply(SOURCES, "vid4")
    assert partial == f"dataset.frames={text}"
    for source in kept:
        assert source.gt is not None
        assert source.lq is not None
        assert source.gt[0 : len(source.gt)][:, 0, 0, 0].tolist() == expected
        assert source.lq[0 : len(source.lq)][:, 0, 0, 0].tolist() == expected
        assert source.gt.frame_rate == (8 if text == "::3" else 6 if text == "1:8:4" else 24)
        assert source.lq.frame_rate is None
        assert any(text in note for note in source.notes)


def test_a_clip_that_is_too_short_fails_alone() -> None:
    sources = [_source("long"), _source("short", 3)]
    (long, short), _ = Selection.of({"frames": "4:6"}).apply(sources, "mine")
    assert long.gt is not None
    assert not long.errors
    assert short.gt is short.lq is None
    with pytest.raises(DataError, match=r"clip 'short': no frame is left of its 3; got dataset\.frames=4:6"):
        raise short.errors["gt"]


def test_errors_of_a_clip_are_kept() -> None:
    bad = SourceSample("bad", errors={"gt": ClipError("unreadable")})
    (kept,), _ = Selection.of({"frames": "0:1"}).apply([bad], "mine")
    assert str(kept.errors["gt"]) == "unreadable"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(
            ({"frames": text}, "no slice of frames")
            for text in ("", "5", "a:b", "-3:", "0:9:0", "0:9:-1", "1:2:3:4", 5)
        ),
        *(({"clips": value}, "names no clips") for value in ("", ",", "a,,b", [], ["a", ""], 5)),
        *(({"limit": value}, "no.* a count of clips") for value in (0, -1, "2", True, 1.5)),
    ],
)
def test_values_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Selection.of(options)
