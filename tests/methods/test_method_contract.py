"""The battery that every registered method with code inherits: a new folder under methods/ needs no new test."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import pytest
import torch

from stvsr_bench.core import registry
from stvsr_bench.core.errors import ConfigError, IncompatibleError, MethodError
from stvsr_bench.methods.base import Method, Report, Request
from stvsr_bench.methods.factory import build_method, method_class
from stvsr_bench.video.clip import ArrayClip, Frames
from stvsr_bench.video.writing import open_writer

CARDS = {name: entry.card for name, entry in registry.methods().items()}
NAMES = [name for name, card in CARDS.items() if card.standing in ("runnable", "announced, code here")]
DETERMINISTIC = [name for name in NAMES if CARDS[name].deterministic]
SPLIT = [name for name in NAMES if "base" in (method_class(name).chunking, method_class(name).tiling)]
OPTIONS = {"cascade": {"vsr": "bicubic", "vfi": "blend"}}


def _options(name: str) -> dict[str, object]:
    """What a method needs besides its defaults; learned ones run at toy size, and so do learned stages of a cascade."""
    given: dict[str, object] = dict(OPTIONS.get(name, {}))
    knobs = {**registry.methods()[name].knobs, **given}
    parts = [name, *(str(knobs[role]) for role in ("vsr", "vfi") if role in knobs)]
    if any("tiny" in method_class(part).presets for part in parts):
        given["preset"] = "tiny"
    return given


def _clip(count: int, height: int, width: int) -> ArrayClip:
    """A drifting random texture: 8-bit, sharp, different in every frame."""
    big = torch.rand(3, height + 2 * count, width + count, generator=torch.Generator().manual_seed(7))
    frames = torch.stack([big[:, 2 * i : 2 * i + height, i : i + width] for i in range(count)])
    return ArrayClip((frames * 255).to(torch.uint8), name="texture", frame_rate=Fraction(24))


def _factors(method: Method) -> list[tuple[int, int]]:
    scales = [s for s in (1, 2, 3, 4) if method.scales is None or s in method.scales]
    times = [t for t in range(1, 9) if method.time_scales is None or t in method.time_scales]
    few = [(scales[-1], t) for t in times] + [(s, times[-1]) for s in scales]
    return list(dict.fromkeys(few))


def _restore(method: Method, clip: ArrayClip, request: Request, report: Report | None = None) -> Frames:
    return torch.cat(list(method.restore(clip, request, report)))


@pytest.fixture
def outputs_folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture(params=NAMES)
def method(request: pytest.FixtureRequest, outputs_folder: Path) -> Iterator[Method]:
    options = _options(request.param)
    if request.param == "outputs":
        options = {"dir": str(outputs_folder), "label": "elsewhere"}
    built = build_method(request.param, options)
    built.setup("cpu", "float32")
    yield built
    built.close()


def _provide(method: Method, folder: Path, name: str, clip: ArrayClip, scale: int, time_scale: int) -> None:
    """Give `outputs` something to read: what it returns must be exactly that."""
    if type(method).__name__ == "Outputs":
        count, height, width = (len(clip) - 1) * time_scale + 1, clip.height * scale, clip.width * scale
        with open_writer(folder / name, "png", height, width, Fraction(24)) as writer:
            writer.write(_clip(count, height, width).frames)


@pytest.mark.parametrize("name", NAMES)
def test_card_config_and_class_agree(name: str) -> None:
    entry = registry.methods()[name]
    card, found = entry.card, method_class(name)
    assert card.version == found.version
    defaults = {k: p.default for k, p in inspect.signature(found.__init__).parameters.items() if k != "self"}
    knobs = entry.knobs
    assert knobs["name"] == name
    assert set(knobs) == set(defaults), "config.yaml shows every knob and no other"
    ready = {"vsr", "vfi", "order"} if found is method_class("cascade") else set()  # what a ready cascade fixes
    for knob in set(knobs) - ready - {"name"}:
        assert (knobs[knob] or None) == (defaults[knob] or None), f"default of {knob}"
    assert (entry.folder / "README.md").read_text(encoding="utf-8").startswith("# ")


def test_card_and_instance_agree(method: Method, request: pytest.FixtureRequest) -> None:
    card = registry.methods()[request.node.callspec.params["method"]].card
    assert method.task == card.task
    assert method.scales == (None if card.scales is None else frozenset(card.scales))
    assert method.time_scales == (None if card.time_scales is None else frozenset(card.time_scales))
    assert method.deterministic == card.deterministic
    assert method.needs_prompt == card.needs_prompt


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize(("height", "width"), [(17, 23), (1, 1), (40, 33)])
def test_every_factor_count_and_size(method: Method, outputs_folder: Path, count: int, height: int, width: int) -> None:
    clip, factors = _clip(count, height, width), _factors(method)
    if method.preset is not None and count > 2:  # networks take their time: every factor with fewer frames is enough
        factors = [factors[0], factors[-1]]
    for number, (scale, time_scale) in enumerate(factors):
        _provide(method, outputs_folder, f"{number}", clip, scale, time_scale)
        report = Report()
        out = _restore(method, clip, Request(scale, time_scale, name=f"{number}"), report)
        assert out.dtype == torch.uint8
        assert tuple(out.shape) == ((count - 1) * time_scale + 1, 3, height * scale, width * scale)
        for stage in report.stages:
            assert stage.seconds >= 0
        if report.stages:
            assert report.stages[-1].frames == len(out)
        assert report.plan


@pytest.mark.parametrize("method", DETERMINISTIC, indirect=True)
def test_equal_requests_give_equal_pixels(method: Method, outputs_folder: Path) -> None:
    count = 5 if method.preset is None else 3
    clip, (scale, time_scale) = _clip(count, 48, 37), _factors(method)[-1]
    _provide(method, outputs_folder, "texture", clip, scale, time_scale)
    request = Request(scale, time_scale, seed=3, name="texture")
    results = []
    threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
    try:
        for number in (1, 1, 2, 3) if method.preset is None else (1, 1, 2):
            torch.set_num_threads(number)
            cv2.setNumThreads(number)
            results.append(_restore(method, clip, request))
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv_threads)
    assert torch.equal(results[0], results[1])
    for other in results[2:]:  # sums of a network are split between threads, which moves a value over a rounding edge
        assert int((other.int() - results[0].int()).abs().max()) <= (0 if method.preset is None else 1)


@pytest.mark.parametrize("method", [n for n in NAMES if CARDS[n].task == "vfi"], indirect=True)
def test_key_frames_of_interpolation_are_the_input(method: Method) -> None:
    clip = _clip(4, 33, 40)
    assert torch.equal(_restore(method, clip, Request(1, 3))[::3], clip.frames)


@pytest.mark.parametrize("method", SPLIT, indirect=True)
def test_splitting_does_not_change_the_result(method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that runs out above N pixels: the method finishes, equals the unsplit result, and the split is told."""
    clip, (scale, time_scale) = _clip(6, 80, 72), _factors(method)[-1]
    request = Request(scale, time_scale, name="texture")
    whole = _restore(method, clip, request)
    block = method.restore_block
    limit = 2 * 80 * 72 if method.tiling != "base" else 40 * 40

    def limited(frames: Frames, request: Request) -> torch.Tensor:
        if len(frames) * frames.shape[-2] * frames.shape[-1] > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")
        return block(frames, request)

    monkeypatch.setattr(method, "restore_block", limited)
    report = Report()
    split = _restore(method, clip, request, report)
    difference = (split.int() - whole.int()).abs().max()
    assert int(difference) <= method.split_tolerance
    assert report.plan["retries"]
    assert report.plan["chunk"] < 6
    if method.tiling == "base":
        assert report.plan["tile"] <= 40
    assert any("memory ran out" in note for note in report.notes)


def test_a_request_it_cannot_do_is_refused_at_once(method: Method) -> None:
    clip = _clip(2, 8, 8)
    if method.task == "vsr" or method.task == "vfi":
        wrong = Request(2, 2)
    else:
        method.scale = 3
        wrong = Request(2, 2)
    with pytest.raises(IncompatibleError, match="cannot restore"):
        method.restore(clip, wrong)


def test_restore_needs_setup(method: Method) -> None:
    method.close()
    with pytest.raises(MethodError, match="setup"):
        method.restore(_clip(1, 8, 8), Request(1, 1))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("knob", "value"), [("scale", 0), ("scale", "4"), ("time_scale", 1.5), ("time_scale", True)])
def test_factors_must_be_whole(name: str, knob: str, value: object, tmp_path: Path) -> None:
    options = {"dir": str(tmp_path), "label": "x"} if name == "outputs" else _options(name)
    with pytest.raises(ConfigError, match=knob):
        build_method(name, {**options, knob: value})
