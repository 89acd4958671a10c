"""From names and cards to methods: ids, options, announced methods, dropped-in folders, card rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from stvsr_bench.core import registry
from stvsr_bench.core.errors import CardError, ConfigError, MethodError, UnknownNameError
from stvsr_bench.core.method_card import MethodCard
from stvsr_bench.core.paths import SEARCH_VARIABLE
from stvsr_bench.methods.base import Method, Request
from stvsr_bench.methods.factory import build_method
from stvsr_bench.video.clip import ArrayClip

SEEDS = ("diffst", "star", "ultravsr", "diffvsr")

CARD = """
name: invert
version: 1
title: Invert
summary: A test.
task: vsr
status: runnable
entry: {entry}
time_scales: [1]
deterministic: true
licence: Apache-2.0
changes: [{{date: 2026-01-01, version: 1, text: First.}}]
"""
CODE = """
from stvsr_bench.methods.base import Method

class Invert(Method):
    task = "vsr"
    scales = frozenset({1})
    neutral_knobs = frozenset({"speed"})

    def __init__(self, *, name, strength=1.0, mode="all", flag=False, speed=1,
                 scale=None, time_scale=None, preset=None, allow_untrained=False):
        super().__init__(name=name, scale=scale, time_scale=time_scale, preset=preset, allow_untrained=allow_untrained)
        self.strength, self.mode, self.flag, self.speed = strength, mode, flag, speed

    def restore_float(self, frames, request):
        return frames + self.strength * (1 - 2 * frames)

class Other:
    pass
"""


def _drop(folder: Path, monkeypatch: pytest.MonkeyPatch, entry: str = "method.py:Invert", config: str = "") -> None:
    method = folder / "methods" / "invert"
    method.mkdir(parents=True)
    (method / "card.yaml").write_text(CARD.format(entry=entry))
    (method / "method.py").write_text(CODE)
    if config:
        (method / "config.yaml").write_text(config)
    monkeypatch.setenv(SEARCH_VARIABLE, str(folder))


def test_a_dropped_folder_runs_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _drop(tmp_path, monkeypatch)
    method = build_method("invert", {"strength": 1.0})
    method.setup()
    frames = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    assert torch.equal(torch.cat(list(method.restore(ArrayClip(frames), Request(1, 1)))), 255 - frames)


def test_ids_name_the_knobs_that_move_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _drop(tmp_path, monkeypatch)
    assert build_method("invert").method_id == "invert"
    assert build_method("invert", {"strength": 1.0, "speed": 9}).method_id == "invert"
    moved = build_method("invert", {"strength": 0.5, "mode": "some", "flag": True, "speed": 9})
    assert moved.method_id == "invert[flag=true,mode=some,strength=0.5]"
    assert moved.identity() == {"preset": None, "strength": 0.5, "mode": "some", "flag": True}


def test_config_values_are_defaults_and_options_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _drop(tmp_path, monkeypatch, config="strength: 0.25\nmode: some\n")
    knobs = build_method("invert", {"mode": "none"}).knobs()
    assert (knobs["strength"], knobs["mode"]) == (0.25, "none")


def test_unknown_options_list_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _drop(tmp_path, monkeypatch)
    with pytest.raises(ConfigError, match="no option 'strenght'; accepted: nearest known: strength"):
        build_method("invert", {"strenght": 1})


def test_a_class_that_is_no_method_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _drop(tmp_path, monkeypatch, entry="method.py:Other")
    with pytest.raises(CardError, match="is not a method"):
        build_method("invert")


def test_unknown_methods_list_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="bicubic"):
        build_method("bicubik")


def test_the_name_is_not_an_option() -> None:
    with pytest.raises(ConfigError, match="cannot be changed"):
        build_method("bicubic", {"name": "mine"})


@pytest.mark.parametrize("name", SEEDS)
def test_announced_methods_say_what_is_missing(name: str) -> None:
    card = registry.methods()[name].card
    assert card.status == "announced"
    assert card.paper.arxiv
    assert card.upstream.repository
    with pytest.raises(MethodError) as caught:
        build_method(name)
    assert card.missing in str(caught.value)
    assert f"method.label={name}_official" in str(caught.value)


def test_announced_tasks_and_factors_are_those_of_the_papers() -> None:
    cards = {name: registry.methods()[name].card for name in SEEDS}
    assert {name: card.task for name, card in cards.items()} == {
        "diffst": "stvsr", "star": "vsr", "ultravsr": "vsr", "diffvsr": "vsr",
    }  # fmt: skip
    assert {card.paper.arxiv for card in cards.values()} == {
        "2605.13182", "2501.02976", "2505.19958", "2501.10110",
    }  # fmt: skip


def _card(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "name": "x", "version": 1, "title": "X", "summary": "x", "task": "stvsr", "status": "runnable",
        "entry": "method.py:X", "deterministic": True, "licence": "MIT",
        "changes": [{"date": "2026-01-01", "version": 1, "text": "First."}],
    }  # fmt: skip
    return {**base, **changes}


_HUB = {"kind": "hub", "repository": "someone/net", "revision": "0123abc", "files": [{"path": "a.pth"}]}
_WEIGHT = {"name": "w", "licence": "MIT", "tensor_hash": "0" * 64, "reader": "torch", "channels": [_HUB]}


def test_a_card_is_accepted() -> None:
    assert MethodCard.model_validate(_card()).scales is None
    assert MethodCard.model_validate(_card(weights=[_WEIGHT])).weights[0].published
    by_revision = {**_WEIGHT, "tensor_hash": None}  # a hub's revision fixes the file's content
    assert MethodCard.model_validate(_card(weights=[by_revision])).weights[0].published


@pytest.mark.parametrize(
    "changes",
    [
        {"colour": "red"},
        {"name": "No Good"},
        {"status": "ready"},
        {"status": "announced"},
        {"status": "announced", "entry": None},
        {"missing": "all"},
        {"entry": None},
        {"entry": "nonsense"},
        {"task": "vsr"},
        {"task": "vfi", "scales": [2]},
        {"scales": [0]},
        {"version": 2},
        {"changes": []},
        {"paper": {"title": "T", "venue": None, "year": 2025, "arxiv": "25.1"}},
        {"weights": [{"name": "w", "licence": None}]},
        {"weights": [{**_WEIGHT, "tensor_hash": "abc"}]},
        {
            "weights": [
                {**_WEIGHT, "tensor_hash": None, "channels": [_HUB, {"kind": "address", "url": "https://x.org/a"}]}
            ]
        },
        {"weights": [{**_WEIGHT, "reader": None}]},
        {"weights": [{**_WEIGHT, "channels": [{**_HUB, "revision": None}]}]},
        {"weights": [{**_WEIGHT, "channels": [{**_HUB, "kind": "ftp"}]}]},
        {"weights": [{**_WEIGHT, "channels": [{**_HUB, "files": [{"path": "a.pth"}, {"path": "b.pth"}]}]}]},
        {"weights": [{**_WEIGHT, "reader": "ncnn"}]},
        {"weights": [{**_WEIGHT, "key_map": [["(", "x"]]}]},
        {"weights": [{**_WEIGHT, "transpose": [["*", [0, 2]]]}]},
        {"weights": [_WEIGHT, _WEIGHT]},
    ],
)
def test_cards_that_break_a_rule_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MethodCard.model_validate(_card(**changes))


def test_dtypes_a_method_does_not_support_are_refused() -> None:
    class Single(Method):
        task = "vsr"

    with pytest.raises(ConfigError, match="accepted: float32"):
        Single(name="single").setup("cpu", "float16")
