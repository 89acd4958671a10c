"""Slugs, seeds, hashes and error texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stvsr_bench.core.errors import BenchError, UnknownNameError
from stvsr_bench.core.hashing import canonical_json, clip_hash, digest, frame_digest
from stvsr_bench.core.seeding import derive_seed
from stvsr_bench.core.slug import slug, unslug


@given(st.text(min_size=1).filter(lambda t: t.isprintable()))
def test_slugs_are_reversible_and_safe(text: str) -> None:
    name = slug(text)
    assert unslug(name) == text
    assert "/" not in name
    assert not name.startswith(".")


def test_seeds_differ_by_every_part() -> None:
    seeds = {
        derive_seed(0, "a"),
        derive_seed(1, "a"),
        derive_seed(0, "b"),
        derive_seed(0, "a", "b"),
        derive_seed(0, "ab"),
    }
    assert len(seeds) == 5
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_hashes_know_shape_and_order() -> None:
    data = bytes(range(24))
    assert frame_digest(data, 2, 4) != frame_digest(data, 4, 2)
    a, b = frame_digest(data, 2, 4), frame_digest(data[::-1], 2, 4)
    assert clip_hash([a, b]) != clip_hash([b, a])
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json(float("inf"))


def test_errors_say_four_things_in_order() -> None:
    text = str(BenchError("clip 'a' fails", got="3", accepted="4", action="do this"))
    assert text == "clip 'a' fails; got 3; accepted: 4; do this"


def test_unknown_names_list_the_nearest() -> None:
    text = str(UnknownNameError("method", "bicubc", ["bicubic", "bilinear", "rife", "blend"]))
    assert "nearest known: bicubic" in text
    assert "rife" not in text
    assert "stvsr-bench list methods" in text
