"""Degradations of whole clips as protocols and users see them."""

from __future__ import annotations

import pytest
import torch

from stvsr_bench.core.errors import ConfigError, DataError
from stvsr_bench.degradation.clipwise import CLIPWISE
from stvsr_bench.degradation.framewise import FRAMEWISE
from stvsr_bench.degradation.registry import DEGRADATIONS


def test_the_registry_holds_both_kinds_by_id() -> None:
    assert set(DEGRADATIONS) == set(FRAMEWISE) | set(CLIPWISE)
    assert set(CLIPWISE) == {
        "realbasicvsr",
        "realbasicvsr_byte",
        "dove",
        "dove_unit",
        "real_esrgan",
        "star",
        "star_fixed",
    }
    for key, degradation in DEGRADATIONS.items():
        assert degradation.id == key
        assert degradation.version >= 1
        assert len(degradation.describe) > 20
        assert degradation.per_frame is (key in FRAMEWISE)


@pytest.mark.parametrize("name", list(CLIPWISE))
def test_descriptions_state_the_conventions(name: str) -> None:
    text = CLIPWISE[name].describe
    assert ("0..255 domain" if name in ("dove", "realbasicvsr_byte") else "0..1 domain") in text
    assert "GT is degraded as it is, not sharpened" in text
    assert ("truncated before JPEG" in text) is name.startswith("dove")
    assert ("video: MP4" in text) is (name != "real_esrgan")
    assert ("fault is kept" in text) is (name == "star")
    assert "half to even" in text


def test_recipes_name_what_they_were_drawn_for() -> None:
    recipe = CLIPWISE["dove"].sample("vid4", "city", 34, (576, 704), 4, 3)
    named = {key: value for key, value in recipe.items() if key != "parts"}
    assert named == {
        "format": 1,
        "degradation": "dove",
        "version": 1,
        "generator": "philox4x64+numpy-legacy@1",
        "seed": 3,
        "dataset": "vid4",
        "clip": "city",
        "frames": 34,
        "size": [576, 704],
        "scale": 4,
    }


@pytest.mark.parametrize("size", [(73, 104), (72, 106), (28, 104), (32, 8)])
def test_sizes_that_do_not_fit_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(DataError, match=r"cannot be reduced by 4; got .*multiples of 4 and at least 32"):
        CLIPWISE["star"].sample("s", "c", 1, size, 4, 0)


@pytest.mark.parametrize(("frames", "scale", "seed"), [(0, 4, 0), (1, 0, 0), (1, 4, -1)])
def test_numbers_that_make_no_sense_are_refused(frames: int, scale: int, seed: int) -> None:
    with pytest.raises(ConfigError, match="cannot be given a recipe"):
        CLIPWISE["dove"].sample("s", "c", frames, (64, 64), scale, seed)


@pytest.mark.parametrize("change", [{"degradation": "dove_unit"}, {"version": 2}])
def test_anothers_recipe_is_refused(change: dict[str, object]) -> None:
    recipe = CLIPWISE["dove"].sample("s", "c", 1, (64, 64), 4, 0) | change
    with pytest.raises(DataError, match=r"is another's; got dove(_unit)?@[12]; accepted: dove@1"):
        CLIPWISE["dove"].apply(recipe, [torch.zeros(1, 3, 64, 64, dtype=torch.uint8)])


def test_libraries_name_what_moves_pixels() -> None:
    versions = CLIPWISE["dove"].libraries()
    assert versions["generator"] == "philox4x64+numpy-legacy@1"
    assert {"pyav", "x264", "opencv", "numpy"} <= set(versions)
    assert all(isinstance(value, str) and value for value in versions.values())
