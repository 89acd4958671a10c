"""From names and cards to methods: ids, options, announced methods, dropped-in folders, card rules."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
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


GROUP = {"mode": "all", "limits": [0.1, 2], "inner": {"width": 8, "deep": True}}


class Grouped(Method):
    """Its knobs stand in groups."""

    task = "vsr"

    def __init__(self, *, name: str, flow: Any = GROUP, extra: Any = None, empty: Any = MappingProxyType({})) -> None:
        super().__init__(name=name)
        self.flow, self.extra, self.empty = flow, extra, empty


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        ({}, "g"),
        ({"flow": {**GROUP, "limits": [0.1, 2]}}, "g"),
        ({"flow": {**GROUP, "mode": "some"}}, "g[flow.mode=some]"),
        (
            {"flow": {"mode": "some", "limits": [0.1, 3], "inner": {"width": 8, "deep": False}}},
            "g[flow.inner.deep=false,flow.limits=(0.1,3),flow.mode=some]",
        ),
        ({"flow": {"mode": "all"}}, "g[flow={mode=all}]"),  # what lacks is another value than the default's
        ({"flow": {**GROUP, "inner": None}}, "g[flow.inner=null]"),
        ({"extra": {"a": 1}, "empty": {"b": 2}}, "g[empty={b=2},extra={a=1}]"),
    ],
)
def test_ids_name_of_a_group_of_knobs_what_differs(knobs: dict[str, Any], expected: str) -> None:
    """Fault caught: a group is compared or shown as a whole, or a group that lacks an option passes for the default."""
    assert Grouped(name="g", **knobs).method_id == expected


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


WAITING = """
from stvsr_bench.methods.base import Method

class Waiting(Method):
    task = "vsr"
    presets = frozenset({presets})

    def __init__(self, *, name, {knobs}scale=None, time_scale=None, preset=None, allow_untrained=False):
        super().__init__(name=name, scale=scale, time_scale=time_scale, preset=preset, allow_untrained=allow_untrained)
        {stored}

    @property
    def untrained(self):
        return self.allow_untrained or self.preset == "tiny"

    def restore_float(self, frames, request):
        return frames.repeat_interleave(request.scale, 2).repeat_interleave(request.scale, 3)
"""


def _drop_waiting(folder: Path, monkeypatch: pytest.MonkeyPatch, *, checkpoint: bool, presets: str) -> None:
    """An announced method that has code."""
    method = folder / "methods" / "waiting"
    method.mkdir(parents=True)
    card = CARD.format(entry="method.py:Waiting").replace("invert", "waiting")
    (method / "card.yaml").write_text(card.replace("status: runnable", "status: announced\nmissing: the moon"))
    knobs, stored = ("checkpoint=None, ", "self.checkpoint = checkpoint") if checkpoint else ("", "pass")
    (method / "method.py").write_text(WAITING.format(presets=presets, knobs=knobs, stored=stored))
    (method / "config.yaml").write_text("name: waiting\n")
    (method / "README.md").write_text("# Waiting\n")
    monkeypatch.setenv(SEARCH_VARIABLE, str(folder))


def test_an_announced_method_with_code_runs_untrained_or_with_parameters_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault caught: base parameters alone run as if they were the published method."""
    _drop_waiting(tmp_path, monkeypatch, checkpoint=True, presets="{'tiny'}")
    refused: tuple[dict[str, Any], ...] = ({}, {"allow_untrained": False}, {"checkpoint": None, "scale": 4})
    for options in refused:
        with pytest.raises(MethodError) as caught:
            build_method("waiting", options)
        ways = ("method.preset=tiny", "method.allow_untrained=true", "method.checkpoint=PATH", "method=outputs")
        for text in ("announced", "the moon", *ways):
            assert text in str(caught.value)
    accepted: tuple[dict[str, Any], ...] = ({"preset": "tiny"}, {"allow_untrained": True}, {"checkpoint": "mine.pth"})
    for options in accepted:
        assert build_method("waiting", options).name == "waiting"
    with pytest.raises(ConfigError, match="no option 'presett'"):  # a wrong option is told first
        build_method("waiting", {"presett": "tiny"})


def test_only_ways_that_the_method_has_are_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _drop_waiting(tmp_path, monkeypatch, checkpoint=False, presets="()")
    with pytest.raises(MethodError) as caught:
        build_method("waiting")
    assert "method.allow_untrained=true" in str(caught.value)
    assert "tiny" not in str(caught.value)
    assert "checkpoint" not in str(caught.value)


@pytest.mark.parametrize("presets", ["{'tiny'}", "()"])
def test_an_announced_method_with_code_is_validated_as_it_can_run(
    presets: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stvsr_bench.evaluation.validate import SHAPES, validate_method

    _drop_waiting(tmp_path, monkeypatch, checkpoint=False, presets=presets)
    checks = list(validate_method("waiting"))
    assert all(check.ok for check in checks), [check for check in checks if not check.ok]
    assert any("announced" in check.what and check.detail == "the moon" for check in checks)
    assert sum("it restores" in check.what for check in checks) == len(SHAPES)


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
    waiting = {"status": "announced", "missing": "weights", "weights": [{"name": "o", "licence": None}, _WEIGHT]}
    assert MethodCard.model_validate(_card(**waiting)).standing == "announced, code here"
    assert MethodCard.model_validate(_card(status="announced", missing="all", entry=None)).standing == "announced"
    made: dict[str, Any] = {"name": "w", "licence": None, "reader": "torch", "made_with": "make w"}
    made["channels"] = [{"kind": "local", "files": [{"path": "w.pth"}]}]
    assert MethodCard.model_validate(_card(weights=[made])).weights[0].local
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
        {
            "status": "announced",
            "missing": "weights",
            "weights": [{"name": "w", "licence": None, "source": "somewhere"}],
        },
        {"weights": [{"name": "w", "licence": None, "note": "not published"}]},
        {"weights": [{"name": "w", "licence": None, "reader": "torch", "made_with": "make w", "channels": [_HUB]}]},
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
