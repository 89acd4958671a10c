"""Recipes: what is drawn, how often, within which bounds, and what it depends on."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import scipy.stats

from stvsr_bench.core.hashing import digest
from stvsr_bench.degradation.clipwise import CLIPWISE, ClipDegradation
from stvsr_bench.degradation.presets import DOVE, PRESETS, STAR

MANY = 10_000
SIZE = (480, 640)
KERNELS = {
    "iso": 0.405,
    "aniso": 0.225,
    "generalized_iso": 0.108,
    "generalized_aniso": 0.027,
    "plateau_iso": 0.108,
    "plateau_aniso": 0.027,
    "sinc": 0.1,
}
THIRDS = dict.fromkeys(("bilinear", "area", "bicubic"), 1 / 3)

FROZEN = {
    "realbasicvsr": "342d96c21102450d",
    "realbasicvsr_byte": "14b34dd69e08946b",
    "dove": "a9900310252e13d9",
    "dove_unit": "79a13abc15f76280",
    "real_esrgan": "df8a963235f82f3b",
    "star": "8aa79e34cd3afcea",
    "star_fixed": "230872332f68b854",
}


def sample(name: str, clip: str = "c", frames: int = 1, seed: int = 0, **more: Any) -> dict[str, Any]:
    return CLIPWISE[name].sample("set", clip, frames, more.get("size", SIZE), more.get("scale", 4), seed)


def steps_of(recipe: dict[str, Any], part: int = 0) -> dict[str, dict[str, Any]]:
    return {step["name"]: step for step in recipe["parts"][part]["steps"]}


@cache
def many(name: str, count: int = MANY) -> list[dict[str, dict[str, Any]]]:
    """The steps of 10,000 clips of one frame."""
    return [steps_of(sample(name, f"clip{i}")) for i in range(count)]


def assert_shares(values: Iterable[Any], shares: dict[Any, float]) -> None:
    counts = Counter(values)
    assert set(counts) == {key for key, share in shares.items() if share}
    total = sum(counts.values())
    test = scipy.stats.chisquare([counts[key] for key in shares], [total * share for share in shares.values()])
    assert test.pvalue > 1e-3, (counts, shares)


def assert_share(count: int, total: int, share: float) -> None:
    assert scipy.stats.binomtest(count, total, share).pvalue > 1e-3, (count, total, share)


def assert_uniform(values: list[float], low: float, high: float) -> None:
    assert len(values) > 200
    assert low - 1e-6 <= min(values)
    assert max(values) <= high + 1e-6
    assert scipy.stats.kstest(values, "uniform", (low, high - low)).pvalue > 1e-3, (low, high)


def mode(step: dict[str, Any], side: int) -> str:
    """Whether a resize enlarged, shrank or kept; only sizes that the even rule cannot blur are told apart."""
    width = step["sizes"][0][1]
    return "keep" if width == side else "up" if width > side else "down"


@pytest.mark.parametrize("name", ["realbasicvsr", "star"])
def test_probabilities_over_10_000_recipes(name: str) -> None:
    drawn = many(name)
    wide = 6400  # of this width nearly every factor changes the even size, so that «keep» can be told
    first = [steps_of(sample(name, f"clip{i}", size=(32, wide)))["resize1"] for i in range(2000)]
    assert_shares((mode(step, wide) for step in first), {"up": 0.2, "down": 0.7, "keep": 0.1})
    assert sum("blur1" in steps for steps in drawn) == MANY
    for blur in ("blur2", "blur_final"):
        assert_share(sum(blur in steps for steps in drawn), MANY, 0.8)
    for blur in ("blur1", "blur2"):
        blurs = [steps[blur] for steps in drawn if blur in steps]
        assert_shares((step["kernel"] for step in blurs), KERNELS)
        assert_shares((step["size"] for step in blurs), dict.fromkeys(range(7, 22, 2), 1 / 8))
    assert {steps["blur_final"]["kernel"] for steps in drawn if "blur_final" in steps} == {"sinc"}
    for resize in ("resize1", "resize2", "resize_final"):
        assert_shares((steps[resize]["interpolation"] for steps in drawn), THIRDS)
    for noise in ("noise1", "noise2"):
        assert_shares((steps[noise]["model"] for steps in drawn), {"gaussian": 0.5, "poisson": 0.5})
        for model in ("gaussian", "poisson"):
            some = [steps[noise]["gray"] for steps in drawn if steps[noise]["model"] == model]
            assert_share(sum(some), len(some), 0.4)
    for video in ("video1", "video2"):
        assert_shares((steps[video]["codec"] for steps in drawn), dict.fromkeys(("libx264", "h264", "mpeg4"), 1 / 3))
        assert_uniform([steps[video]["bitrate"] for steps in drawn], 1e4, 1e5)
    other = "video2" if name == "realbasicvsr" else "jpeg2"
    before = sum(list(steps).index(other) < list(steps).index("resize_final") for steps in drawn)
    assert_share(before, MANY, 0.5)


def test_steps_come_in_the_published_order() -> None:
    first, second = ["blur1", "resize1", "noise1", "jpeg1"], ["blur2", "resize2", "noise2"]
    final = ["resize_final", "blur_final"]
    orders = {
        "realbasicvsr": [
            [*first, "video1", *second, "jpeg2", "video2", *final],
            [*first, "video1", *second, "jpeg2", *final, "video2"],
        ],
        "real_esrgan": [[*first, *second, "jpeg2", *final], [*first, *second, *final, "jpeg2"]],
        "star": [
            [*first, "video1", *second, "jpeg2", *final, "video2"],
            [*first, "video1", *second, *final, "jpeg2", "video2"],
        ],
    }
    orders["dove"] = orders["realbasicvsr"]
    for name, expected in orders.items():
        skipped = ("blur2", "blur_final")
        allowed = {
            tuple(step for step in order if step not in left_out)
            for order in expected
            for left_out in [(), skipped[:1], skipped[1:], skipped]
        }
        assert {tuple(steps) for steps in many(name, 300)} == allowed


def test_second_resize_enlarges_shrinks_and_keeps_as_often_as_published() -> None:
    """Real-ESRGAN's second resize is relative to GT / 4; a wide GT tells nearly every factor from 1."""
    wide = [steps_of(sample("real_esrgan", f"clip{i}", size=(32, 25_600)))["resize2"] for i in range(2000)]
    assert_shares((mode(step, 6400) for step in wide), {"up": 0.3, "down": 0.4, "keep": 0.3})


@pytest.mark.parametrize("name", ["realbasicvsr", "star"])
def test_initial_values_are_uniform_in_their_ranges(name: str) -> None:
    drawn = many(name)
    for blur, sigma in (("blur1", 3.0), ("blur2", 1.5)):
        blurs = [steps[blur] for steps in drawn if blur in steps]
        assert_uniform([s["sigma_x"][0] for s in blurs if "sigma_x" in s], 0.2, sigma)
        assert_uniform([s["sigma_y"][0] for s in blurs if "sigma_y" in s], 0.2, sigma)
        assert_uniform([s["rotation"][0] for s in blurs if "rotation" in s], -3.1416, 3.1416)
        sinc = [s for s in blurs if s["kernel"] == "sinc"]
        assert_uniform([s["omega"][0] for s in sinc if s["size"] < 13], math.pi / 3, math.pi)
        assert_uniform([s["omega"][0] for s in sinc if s["size"] >= 13], math.pi / 5, math.pi)
        assert min(s["omega"][0] for s in sinc if s["size"] == 13) < math.pi / 3 - 0.1
    final = [s["blur_final"] for s in drawn if "blur_final" in s]
    assert_uniform([s["omega"][0] for s in final if s["size"] >= 13], math.pi / 3, math.pi)
    for noise, sigma, scale in (("noise1", 30, 3), ("noise2", 25, 2.5)):
        noises = [steps[noise] for steps in drawn]
        assert_uniform([s["level"][0] for s in noises if s["model"] == "gaussian"], 1, sigma)
        assert_uniform([s["level"][0] for s in noises if s["model"] == "poisson"], 0.05, scale)
    for jpeg in ("jpeg1", "jpeg2"):
        quality = [steps[jpeg]["quality"][0] for steps in drawn]
        if name == "star":
            assert_uniform(quality, 30, 95)
            assert any(q != round(q) for q in quality)
        else:
            shares = {q: (0.5 if q in (30, 95) else 1) / 65 for q in range(30, 96)}
            assert_shares(map(int, quality), shares)
            assert all(q == round(q) for q in quality)


def test_second_resize_is_relative_to_the_size_reached_or_to_lq() -> None:
    """RealBasicVSR multiplies both factors; Real-ESRGAN's second one counts from GT / 4; STAR forgets the width."""
    for steps in many("realbasicvsr"):
        reached, target = steps["resize1"]["sizes"][0], steps["resize2"]["sizes"][0]
        assert steps["video1"]["size"] == reached
        assert 0.15 * SIZE[1] - 2 <= reached[1] <= 1.5 * SIZE[1]
        assert 0.3 * reached[1] - 2 <= target[1] <= 1.2 * reached[1]
    fixed = [steps["resize2"]["sizes"][0] for steps in many("star_fixed", 500)]
    broken = [steps["resize2"]["sizes"][0] for steps in many("star")[:500]]
    assert min(w for _, w in fixed) >= math.floor(0.3 * 160)
    assert max(w for _, w in fixed) <= 1.2 * 160
    assert {w for _, w in broken} == {SIZE[1]}
    assert [h for h, _ in fixed] == [h for h, _ in broken]


def test_real_esrgan_draws_exponents_on_either_side_of_1_equally() -> None:
    blurs = [s["blur1"] for s in many("star")]
    wide = [s["beta"][0] for s in blurs if s["kernel"].startswith("generalized")]
    assert_share(sum(b < 1 for b in wide), len(wide), 0.5)
    assert_uniform([b for b in wide if b < 1], 0.5, 1)
    assert_uniform([b for b in wide if b >= 1], 1, 4)
    flat = [s["beta"][0] for s in blurs if s["kernel"].startswith("plateau")]
    assert_share(sum(b == 1 for b in flat), len(flat), 0.5)
    assert_uniform([b for b in flat if b != 1], 1, 2)


@pytest.mark.parametrize("name", list(CLIPWISE))
def test_recipes_depend_on_seed_dataset_clip_and_nothing_else(name: str) -> None:
    one = CLIPWISE[name]
    recipes = {
        digest(one.sample(dataset, clip, 4, SIZE, 4, seed)["parts"])
        for dataset in ("vid4", "udm10")
        for clip in ("a", "b")
        for seed in (0, 1)
    }
    assert len(recipes) == 8
    before = one.sample("vid4", "a", 4, SIZE, 4, 0)
    assert before == one.sample("vid4", "a", 4, SIZE, 4, 0)
    raised = ClipDegradation(replace(one.preset, version=one.version + 1, stream=""))
    assert raised.sample("vid4", "a", 4, SIZE, 4, 0)["parts"] != before["parts"]


@pytest.mark.parametrize(
    ("twin", "original", "differs"),
    [("realbasicvsr_byte", "realbasicvsr", "domain"), ("dove_unit", "dove", "domain"), ("star_fixed", "star", "sizes")],
)
def test_twins_draw_the_same_numbers_and_differ_in_one_convention(twin: str, original: str, differs: str) -> None:
    found = 0
    for clip in range(20):
        for part, other in zip(
            sample(twin, f"t{clip}", 3)["parts"], sample(original, f"t{clip}", 3)["parts"], strict=True
        ):
            for step, same in zip(part["steps"], other["steps"], strict=True):
                changed = {field for field in step if step[field] != same[field]}
                assert changed <= {differs}
                found += bool(changed)
                assert not changed or step["name"] in ("noise1", "noise2", "resize2")
    assert found > 10


def test_star_and_real_esrgan_draw_every_frame_alone() -> None:
    for name in ("star", "star_fixed", "real_esrgan"):
        recipe = sample(name, frames=40)
        assert [(part["first"], part["count"]) for part in recipe["parts"]] == [(t, 1) for t in range(40)]
        first = [steps_of(recipe, t) for t in range(40)]
        assert len({steps["blur1"]["kernel"] for steps in first}) > 2
        assert len({tuple(steps["resize1"]["sizes"][0]) for steps in first}) > 20
        assert {steps["blur1"]["pad_to"] for steps in first} == {21}
        assert all(steps["noise1"]["clip"] for steps in first)
        assert all("video1" in steps for steps in first) is (name != "real_esrgan")
    assert len({steps["video1"]["bitrate"] for steps in (steps_of(sample("star", frames=9), t) for t in range(9))}) == 9


def test_star_cuts_odd_frames_after_the_first_round_and_never_at_the_end() -> None:
    cut = 0
    for steps in many("star")[:500]:
        reached, video = steps["resize1"]["sizes"][0], steps["video1"]
        assert video["size"] == [side - side % 2 for side in reached]
        cut += video["size"] != reached
        assert (video["odd"], steps["video2"]["odd"]) == ("crop", "pad")
        assert steps["video2"]["size"] == [120, 160]
        assert list(steps)[-1] == "video2"
    assert cut > 100


def test_presets_keep_their_published_conventions() -> None:
    conventions = {
        name: (
            steps["jpeg1"]["backend"],
            steps["jpeg1"].get("rounding"),
            steps["resize1"]["backend"],
            next(s["noise1"]["domain"] for s in many(name, 50) if s["noise1"]["model"] == "poisson"),
        )
        for name in CLIPWISE
        for steps in many(name, 50)[:1]
    }
    assert conventions == {
        "realbasicvsr": ("cv2", "round", "cv2", "unit"),
        "realbasicvsr_byte": ("cv2", "round", "cv2", "byte"),
        "dove": ("cv2", "truncate", "cv2", "byte"),
        "dove_unit": ("cv2", "truncate", "cv2", "unit"),
        "real_esrgan": ("diff", None, "torch", "unit"),
        "star": ("diff", None, "torch", "unit"),
        "star_fixed": ("diff", None, "torch", "unit"),
    }
    assert not any("sharpen" in steps for name in CLIPWISE for steps in many(name, 50))
    sharpened = ClipDegradation(replace(STAR, sharpen=True)).sample("s", "c", 2, SIZE, 4, 0)
    assert [part["steps"][0]["name"] for part in sharpened["parts"]] == ["sharpen"] * 2
    assert (
        next(iter(steps_of(ClipDegradation(replace(DOVE, sharpen=True)).sample("s", "c", 2, SIZE, 4, 0)))) == "sharpen"
    )


def test_recipes_are_frozen() -> None:
    """A recipe that changes needs a higher version of its preset; then replace its digest here."""
    drawn = {p.id: digest(CLIPWISE[p.id].sample("vid4", "calendar", 5, (576, 720), 4, 0))[:16] for p in PRESETS}
    assert drawn == FROZEN


def test_another_process_in_another_order_draws_the_same() -> None:
    names = list(CLIPWISE)
    code = (
        "import json, sys\n"
        "from stvsr_bench.degradation.clipwise import CLIPWISE\n"
        "from stvsr_bench.core.hashing import digest\n"
        "recipes = [CLIPWISE[name].sample('set', 'c', 4, (480, 640), 4, 0) for name in json.loads(sys.argv[1])]\n"
        "print(json.dumps([digest(recipe) for recipe in recipes]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(names[::-1])], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)[::-1] == [digest(sample(name, frames=4)) for name in names]


def test_a_recipe_is_small() -> None:
    sizes = {name: len(json.dumps(sample(name, frames=100))) for name in CLIPWISE}
    assert sizes["dove"] < 10_000
    assert sizes["realbasicvsr"] < 30_000
    assert max(sizes.values()) < 200_000
