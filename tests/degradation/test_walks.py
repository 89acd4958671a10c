"""Recipes of clips: sizes, walks from frame to frame, and what stays the same within a clip."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import scipy.stats

from stvsr_bench.degradation.clipwise import CLIPWISE
from stvsr_bench.degradation.steps import at


def sample(name: str, clip: str = "c", frames: int = 1, size: tuple[int, int] = (480, 640)) -> dict[str, Any]:
    return CLIPWISE[name].sample("set", clip, frames, size, 4, 0)


def steps_of(recipe: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["name"]: step for step in recipe["parts"][0]["steps"]}


def test_sizes_are_even_for_every_frame_and_encoders_start_from_frame_0() -> None:
    """Odd GT / 4 (69×103 here) is where only the final size is odd."""
    for clip in range(60):
        steps = steps_of(sample("realbasicvsr", f"c{clip}", frames=40, size=(276, 412)))
        for resize in ("resize1", "resize2"):
            assert all(side >= 2 and side % 2 == 0 for size in steps[resize]["sizes"] for side in size)
        assert steps["video1"]["size"] == steps["resize1"]["sizes"][0]
        assert steps["resize_final"]["sizes"] == [[69, 103]]
        order = list(steps)
        after = order.index("video2") > order.index("resize_final")
        assert steps["video2"]["size"] == ([69, 103] if after else steps["resize2"]["sizes"][0])
        assert steps["video2"]["odd"] == "pad"


def test_even_sizes_follow_the_published_rule() -> None:
    """2 · (int(side · factor) // 2), checked through the one factor that is known: 1."""
    kept = 0
    for clip in range(200):
        steps = steps_of(sample("dove", f"c{clip}", size=(276, 412)))
        kept += steps["resize1"]["sizes"] == [[276, 412]]
        height, width = steps["resize1"]["sizes"][0]
        # some factor gives both sides
        low, high = max(height / 276, width / 412), min((height + 2) / 276, (width + 2) / 412)
        assert low < high
    assert 5 < kept < 45


def test_walks_keep_to_their_bounds_and_steps() -> None:
    limits = {
        "sigma_x": (0.2, 3.0, 0.02),
        "sigma_y": (0.2, 3.0, 0.02),
        "rotation": (-3.1416, 3.1416, 0.31416),
        "omega": (math.pi / 5, math.pi, 0.0628),
        "gaussian": (1, 30, 0.1),
        "poisson": (0.05, 3, 0.005),
        "quality": (30, 95, 3.5),
    }
    moves: dict[str, list[float]] = {name: [] for name in limits}
    ends: Counter[str] = Counter()
    for clip in range(60):
        steps = steps_of(sample("realbasicvsr", f"w{clip}", frames=150))
        columns = {name: steps["blur1"].get(name) for name in ("sigma_x", "sigma_y", "rotation", "omega")}
        columns[steps["noise1"]["model"]] = steps["noise1"]["level"]
        columns["quality"] = steps["jpeg1"]["quality"]
        for name, values in columns.items():
            if values is None:
                continue
            low, high, step = limits[name]
            assert len(values) == 150
            assert low - 1e-6 <= min(values)
            assert max(values) <= high + 1e-6
            ends[name] += sum(value in (low, high) for value in values)
            # a walk that is cut off at a bound moves less
            moves[name] += [b - a for a, b in itertools.pairwise(values) if low < min(a, b) < max(a, b) < high]
            assert max(abs(b - a) for a, b in itertools.pairwise(values)) <= step + 1e-6
    for name, taken in moves.items():
        step = limits[name][2]
        assert len(taken) > 100
        assert max(taken) > 0.8 * step
        assert min(taken) < -0.8 * step
        assert abs(float(np.mean(taken))) < 0.1 * step
    assert ends["quality"] > 0
    assert ends["rotation"] > 0


def test_resize_factors_walk_in_every_mode_and_stay_between_the_bounds() -> None:
    wide, seen = 64_000, Counter[str]()
    for clip in range(60):
        sizes = steps_of(sample("realbasicvsr", f"f{clip}", frames=60, size=(64, wide)))["resize1"]["sizes"]
        factors = [width / wide for _, width in sizes]
        assert min(factors) >= 0.15 - 1e-4
        assert max(factors) <= 1.5
        changes = np.abs(np.diff(factors))
        assert 0.01 < changes.max() <= 0.015 + 1e-4
        seen["keep" if sizes[0][1] == wide else "other"] += 1
    assert seen["keep"] > 0


def test_only_quality_and_leaking_exponents_change_within_a_dove_clip() -> None:
    leaking = 0
    for clip in range(300):
        for name, step in steps_of(sample("dove", f"d{clip}", frames=12)).items():
            for field, values in step.items():
                if isinstance(values, list) and len(values) > 1 and field not in ("quality", "size"):
                    assert field == "beta", (name, field)
                    assert step["kernel"].startswith(("generalized", "plateau"))
                    leaking += 1
        assert len(steps_of(sample("dove", f"d{clip}", frames=12))["jpeg1"]["quality"]) == 12
    # 27 % of the first blurs and of the four fifths second ones
    assert scipy.stats.binomtest(leaking, 540, 0.27).pvalue > 1e-3


def test_exponents_leak_uniformly_between_the_clips_value_and_1() -> None:
    """In dove the clip's exponent stands still, so that every frame is one draw between it and 1."""
    plateau, generalized = [], []
    for clip in range(120):
        blur = steps_of(sample("dove", f"b{clip}", frames=60))["blur1"]
        if "beta" in blur:
            values = np.array(blur["beta"])
            assert (values <= 1 + 1e-6).all() or (values >= 1 - 1e-6).all()
            far = values[np.abs(values - 1).argmax()]
            shares = (values - 1) / (far - 1)
            assert scipy.stats.kstest(shares, "uniform").pvalue > 1e-4
            (plateau if blur["kernel"].startswith("plateau") else generalized).append(far)
    assert 1 < min(plateau) < max(plateau) <= 2
    assert 0.5 <= min(generalized) < 1 < max(generalized) <= 4


@pytest.mark.parametrize("name", list(CLIPWISE))
def test_the_first_frames_do_not_depend_on_how_many_follow(name: str) -> None:
    short, long = sample(name, frames=3), sample(name, frames=9)
    for part, longer in zip(short["parts"], long["parts"], strict=False):
        assert [s["name"] for s in part["steps"]] == [s["name"] for s in longer["steps"]]
        for one, other in zip(part["steps"], longer["steps"], strict=True):
            for field, values in one.items():
                for t in range(part["count"]):
                    again = other[field]
                    # a size is one value, not one per frame
                    column = isinstance(values, list) and field != "size"
                    assert (at(values, t) == at(again, t)) if column else values == again
