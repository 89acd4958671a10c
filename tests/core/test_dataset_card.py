"""Cards of datasets: what they may state, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from stvsr_bench.core.dataset_card import DatasetCard, Variant

OLD = {
    "name": "mine",
    "version": 1,
    "title": "Mine",
    "summary": "s",
    "kind": "real",
    "source": "me",
    "licence": "mine",
    "variants": {"default": {"summary": "x", "n_clips": 2, "frames": 3, "certainty": {"frames": "memory"}}},
    "used_by": [{"method": "diffst", "how": "×4"}],
}


def test_a_card_written_before_there_was_a_status_is_valid() -> None:
    card = DatasetCard.model_validate(OLD)
    assert (card.status, card.missing, card.lq_at_gt_size, card.built_in) == ("runnable", None, False, False)
    assert (card.used_by[0].certainty, card.used_by[0].protocols, card.certainty) == ("certain", (), {})
    assert card.variants["default"].frames_about is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "announced"}, "'missing' says what"),
        ({"missing": "its list"}, "'missing' says what"),
        ({"kind": "training"}, "nothing is run on it"),
        ({"kind": "synthetic", "lq_at_gt_size": True}, "belongs to kind: real"),
        ({"kind": "video"}, "kind"),
        ({"status": "planned"}, "status"),
        ({"certainty": {"colour": "certain"}}, "certainty"),
        ({"certainty": {"licence": "sure"}}, "certainty"),
        ({"used_by": [{"method": "diffst", "how": "x", "certainty": "sure"}]}, "certainty"),
    ],
)
def test_parts_that_contradict_one_another_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DatasetCard.model_validate({**OLD, **changes})


def test_an_announced_training_set_and_stored_lq_are_accepted() -> None:
    announced = {"status": "announced", "missing": "files", "kind": "training", "not_reproducible": "no list"}
    assert DatasetCard.model_validate({**OLD, **announced}).missing == "files"
    assert DatasetCard.model_validate({**OLD, "lq_at_gt_size": True}).lq_at_gt_size


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 3, "frames_about": 3}, "exclude one another"),
        ({"among_others": True}, "among_others needs clips"),
        ({"frames_about": 0}, "frames_about"),
        ({"certainty": {"colour": "memory"}}, "certainty"),
    ],
)
def test_variants_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Variant.model_validate({"summary": "x", "n_clips": 2, **changes})


@pytest.mark.parametrize(("frames", "expected"), [(27, "about 32"), (28, None), (36, None), (37, "about 32")])
def test_about_so_many_frames_leave_an_eighth(frames: int, expected: str | None) -> None:
    assert Variant(summary="x", n_clips=1, frames_about=32).wrong_frames("a", frames) == expected


def test_exact_frames_leave_nothing() -> None:
    exact = Variant(summary="x", n_clips=1, frames=32)
    assert [exact.wrong_frames("a", frames) for frames in (31, 32, 33)] == ["32", None, "32"]
    assert Variant(summary="x", n_clips=1).wrong_frames("a", 7) is None
