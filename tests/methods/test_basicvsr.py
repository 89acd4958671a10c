"""BasicVSR as a method: exact in bounded memory, its knobs and identity, and what it refuses."""

from __future__ import annotations

import errno
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from stvsr_bench.core import registry
from stvsr_bench.core.errors import ConfigError, MethodError, WeightError
from stvsr_bench.core.spool import Spool
from stvsr_bench.methods.base import Report, Request
from stvsr_bench.methods.basicvsr import BasicVSR
from stvsr_bench.methods.basicvsr import recurrence as recurrence_module
from stvsr_bench.methods.basicvsr.checkpoint import network_of
from stvsr_bench.methods.basicvsr.network import BasicVSRNet
from stvsr_bench.methods.factory import build_method
from stvsr_bench.nn.seeded import seed_parameters
from stvsr_bench.video.clip import ArrayClip, Clip, Frames
from stvsr_bench.video.color import to_uint8
from stvsr_bench.weights import service
from stvsr_bench.weights.shaping import shape_weight


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _clip(count: int = 9, height: int = 21, width: int = 34) -> ArrayClip:
    """A drifting texture with detail at several scales."""
    generator = torch.Generator().manual_seed(2)
    coarse = torch.rand(1, 3, 12, 12, generator=generator)
    big = torch.nn.functional.interpolate(coarse, (height + 2 * count, width + count), mode="bicubic")[0]
    big = (big + 0.2 * torch.rand(big.shape, generator=generator)).clamp(0, 1)
    frames = torch.stack([big[:, 2 * i : 2 * i + height, i : i + width] for i in range(count)])
    return ArrayClip((frames * 255).to(torch.uint8), name="texture")


def _method(**knobs: Any) -> BasicVSR:
    method = BasicVSR(name="basicvsr", preset="tiny", **knobs)
    method.setup()
    return method


def _restore(clip: Clip, report: Report | None = None, **knobs: Any) -> Frames:
    return torch.cat(list(_method(**knobs).restore(clip, Request(4, 1, name=clip.name), report)))


# ---------------------------------------------------------------------- one recurrence, however it is gone through


WAYS: list[dict[str, Any]] = [
    {"store": "memory"},
    *({"store": "recompute", "chunk": chunk} for chunk in (1, 3, 8, 64)),
    {"lookahead": 99, "chunk": 4},
]


@pytest.mark.parametrize(("count", "height", "width"), [(1, 7, 5), (2, 1, 1), (9, 21, 34), (17, 6, 7)])
def test_every_way_gives_equal_pixels(count: int, height: int, width: int) -> None:
    clip = _clip(count, height, width)
    expected = _restore(clip)
    assert expected.shape == (count, 3, 4 * height, 4 * width)
    for way in WAYS:
        assert torch.equal(_restore(clip, **way), expected), way


@pytest.mark.parametrize("batches", [(1, 1), (2, 3), (5, 2)])
def test_batches_are_the_same_in_every_way(monkeypatch: pytest.MonkeyPatch, batches: tuple[int, int]) -> None:
    """Also where batches and chunks do not line up: every call of the network sees what it saw before."""
    clip = _clip(11, 9, 14)
    pixels = clip.height * clip.width
    monkeypatch.setattr(recurrence_module, "FLOW_PIXELS", pixels * batches[0])
    monkeypatch.setattr(recurrence_module, "FINE_PIXELS", pixels * batches[1])
    shapes: set[int] = set()
    flows = BasicVSRNet.flows

    def seen(self: BasicVSRNet, frames: torch.Tensor, *, ahead: bool) -> torch.Tensor:
        shapes.add(len(frames) - 1)
        return flows(self, frames, ahead=ahead)

    monkeypatch.setattr(BasicVSRNet, "flows", seen)
    expected = _restore(clip)
    assert shapes == ({batches[0]} if 10 % batches[0] == 0 else {batches[0], 10 % batches[0]})
    for way in WAYS:
        assert torch.equal(_restore(clip, **way), expected), way


@pytest.mark.parametrize("knobs", [{}, {"store": "recompute", "chunk": 4}])
def test_it_equals_the_whole_clip_at_once(knobs: dict[str, Any]) -> None:
    clip = _clip()
    whole = to_uint8(_method().restore_float(clip.frames.float() / 255, Request(4, 1)))
    assert int((_restore(clip, **knobs).int() - whole.int()).abs().max()) <= 1


def test_the_plain_form_differs_by_rounding_only() -> None:
    plain = BasicVSR(name="basicvsr", preset="tiny")
    plain.optimised = False
    plain.setup()
    clip = _clip()
    difference = (torch.cat(list(plain.restore(clip, Request(4, 1)))).int() - _restore(clip).int()).abs()
    assert int(difference.max()) <= 1
    assert float((difference > 0).float().mean()) < 1e-3


def test_every_output_depends_on_every_frame() -> None:
    clip = _clip(12, 9, 14)
    for changed, seen in ((11, 0), (0, 11)):
        other = clip.frames.clone()
        other[changed] = 255 - other[changed]
        for way in WAYS[:2]:
            result = _restore(ArrayClip(other, name=clip.name), **way)
            assert not torch.equal(result[seen], _restore(clip, **way)[seen]), way


def test_lookahead_cuts_the_backward_pass() -> None:
    clip = _clip(12)
    exact, cut = _restore(clip), _restore(clip, lookahead=1, chunk=4)
    last = clip.frames.clone()
    last[-1] = 255 - last[-1]
    other = _restore(ArrayClip(last, name=clip.name), lookahead=1, chunk=4)
    assert torch.equal(other[:4], cut[:4]), "the first chunk sees frames 0 to 4 only"
    assert not torch.equal(cut[:8], exact[:8])
    assert torch.equal(_restore(clip, lookahead=1, chunk=12), exact)


# ---------------------------------------------------------------------- memory and reading


class Watched(ArrayClip):
    """Notes which frames are read."""

    def __init__(self, clip: ArrayClip) -> None:
        super().__init__(clip.frames, clip.name)
        self.order: list[int] = []

    def read(self, indices: Sequence[int]) -> Frames:
        self.order.extend(indices)
        return super().read(indices)


def test_the_clip_is_read_backwards_then_forwards_once_each() -> None:
    clip = Watched(_clip(20))
    _restore(clip)
    assert clip.order == [*reversed(range(20)), *range(20)]


def _most_states(monkeypatch: pytest.MonkeyPatch, count: int, **knobs: Any) -> int:
    """The most feature maps of either direction that were alive at any step."""
    alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    most = 0

    def watched(step: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def run(*arguments: Any) -> torch.Tensor:
            nonlocal most
            made = step(*arguments)
            alive.add(made)
            most = max(most, len(alive))
            return made

        return run

    with monkeypatch.context() as patch:
        for name in ("step_back", "step_forth"):
            patch.setattr(BasicVSRNet, name, watched(getattr(BasicVSRNet, name)))
        patch.setattr(recurrence_module, "FINE_PIXELS", 0)
        _restore(_clip(count, 4, 4), **knobs)
    return most


def test_memory_does_not_grow_with_the_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _most_states(monkeypatch, 12) == _most_states(monkeypatch, 96) <= 4
    assert _most_states(monkeypatch, 96, lookahead=2, chunk=6) <= 6 + 2 + 2
    assert _most_states(monkeypatch, 96, store="recompute", chunk=8) <= 96 // 8 + 8 + 3
    assert _most_states(monkeypatch, 96, store="memory") >= 96, "the count sees features that are kept"


def test_reading_is_not_charged() -> None:
    class Slow(ArrayClip):
        def read(self, indices: Sequence[int]) -> Frames:
            time.sleep(0.3)
            return super().read(indices)

    report = Report()
    _restore(Slow(_clip(2, 4, 4).frames), report)
    assert report.stages[0].name == "restore/basicvsr"
    assert report.stages[0].frames == 2
    assert report.stages[0].seconds < 0.3


def test_the_plan_says_how() -> None:
    report = Report()
    _restore(_clip(9), report, store="recompute", chunk=4)
    assert report.plan["windows"] == 1
    assert (report.plan["store"], report.plan["kept_every"], report.plan["lookahead"]) == ("recompute", 4, None)
    _restore(_clip(9), report, lookahead=2, chunk=4)
    assert (report.plan["chunk"], report.plan["windows"], report.plan["lookahead"]) == (4, 3, 2)


@pytest.mark.parametrize(
    ("store", "advice"),
    [("memory", "method.store=disk"), ("recompute", "method.store=disk"), ("disk", "crop them")],
)
def test_out_of_memory_names_the_option(monkeypatch: pytest.MonkeyPatch, store: str, advice: str) -> None:
    def step(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")

    monkeypatch.setattr(BasicVSRNet, "step_forth", step)
    with pytest.raises(MethodError, match="Tried to allocate") as caught:
        _restore(_clip(3), store=store)
    assert advice in str(caught.value)
    assert "21x34" in str(caught.value)


def test_a_full_disk_names_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Spool, "put", full)
    with pytest.raises(MethodError, match="No space left") as caught:
        _restore(_clip(3))
    assert "method.store=recompute" in str(caught.value)


def test_half_precision_is_close() -> None:
    method = BasicVSR(name="basicvsr", preset="tiny")
    method.setup(dtype="float16")
    clip = _clip(4)
    half = torch.cat(list(method.restore(clip, Request(4, 1))))
    assert float((half.int() - _restore(clip).int()).abs().float().mean()) < 2


# ---------------------------------------------------------------------- identity


def test_only_what_moves_pixels_is_in_the_id() -> None:
    ids = {
        BasicVSR(name="basicvsr", **knobs).method_id: knobs
        for knobs in (
            {},
            {"variant": "reds4"},
            {"store": "recompute", "chunk": 5},
            {"lookahead": 8},
            {"lookahead": 8, "chunk": 5, "store": "memory"},
        )
    }
    assert list(ids) == [
        "basicvsr",
        "basicvsr[variant=reds4]",
        "basicvsr[lookahead=8]",
        "basicvsr[chunk=5,lookahead=8]",
    ]
    exact = BasicVSR(name="basicvsr").identity()
    assert exact == BasicVSR(name="basicvsr", store="memory", chunk=3).identity()
    assert "chunk" in BasicVSR(name="basicvsr", lookahead=0).identity()
    assert "store" not in BasicVSR(name="basicvsr", lookahead=0).identity()


def test_weights_are_known_without_loading_them() -> None:
    hashes = {variant: BasicVSR(name="basicvsr", variant=variant).weights_hashes() for variant in ("vimeo_bi", "reds4")}
    assert list(hashes["vimeo_bi"]) == ["basicvsr/vimeo_bi"]
    assert hashes["vimeo_bi"]["basicvsr/vimeo_bi"] != hashes["reds4"]["basicvsr/reds4"]
    assert not BasicVSR(name="basicvsr").untrained


def test_absent_weights_need_permission(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STVSR_BENCH_WEIGHTS", str(tmp_path))
    with service.offline(), pytest.raises(WeightError, match="basicvsr/vimeo_bd"):
        BasicVSR(name="basicvsr", variant="vimeo_bd").setup()
    seeded = BasicVSR(name="basicvsr", variant="vimeo_bd", allow_untrained=True)
    assert seeded.untrained
    assert seeded.weights_hashes() == {}
    seeded.setup()
    assert len(seeded.network.state_dict()) == 316
    assert BasicVSR(name="basicvsr", preset="tiny").untrained


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"variant": "vimeo_bk"}, "nearest: vimeo_b"),
        ({"store": "ram"}, "accepted: disk, memory, recompute"),
        ({"chunk": 0}, "a whole number from 1"),
        ({"chunk": True}, "a whole number from 1"),
        ({"lookahead": -1}, "a whole number from 0, or null"),
        ({"lookahead": 1.5}, "a whole number from 0, or null"),
        ({"preset": "small"}, "accepted: tiny"),
    ],
)
def test_wrong_knobs_are_refused(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BasicVSR(name="basicvsr", **knobs)


# ---------------------------------------------------------------------- checkpoints


def _tensors() -> dict[str, torch.Tensor]:
    net = BasicVSRNet(8, 2, flow_features=(4, 6, 5, 3), fine_features=7)
    seed_parameters(net, "checkpoint")
    return dict(net.state_dict())


def test_the_tensors_tell_the_size() -> None:
    tensors = _tensors()
    net = network_of(tensors)
    assert all(torch.equal(value, tensors[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("conv_hr.bias"), "1 missing: conv_hr.bias"),
        (lambda t: t.pop("spynet.mean"), "1 missing: spynet.mean"),
        (lambda t: t.pop("spynet.basic_module.0.basic_module.2.weight"), "missing: spynet.basic_module.0"),
        (lambda t: t.pop("backward_trunk.main.2.0.conv1.weight"), "backward_trunk.main.2"),
        (lambda t: t.update({"extra.weight": torch.zeros(1)}), "1 unexpected: extra.weight"),
        (lambda t: t.update({"fusion.weight": torch.zeros(8, 15, 1, 1)}), "fusion.weight [8, 15, 1, 1] instead of"),
        (lambda t: t.update({"fusion.bias": torch.zeros(8).double()}), "fusion.bias torch.float64 instead of"),
        (lambda t: t.update({"edvr.conv_first.weight": torch.zeros(1)}), "those of IconVSR"),
        (lambda t: t.update({"backward_fusion.weight": torch.zeros(1)}), "those of IconVSR"),
        (lambda t: t.update({"backward_trunk.main.0.weight": torch.zeros(8, 19, 3, 3)}), "not those of BasicVSR"),
        (lambda t: t.clear(), "not those of BasicVSR"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(change: Callable[[dict[str, Any]], object], message: str) -> None:
    tensors = _tensors()
    change(tensors)
    with pytest.raises(WeightError) as caught:
        network_of(tensors)
    assert message in str(caught.value)


def _openmmlab(name: str) -> str:
    parts = name.split(".")
    if name.startswith("spynet.basic_module"):
        parts[4:5] = [str(int(parts[4]) // 2), "conv"]
    renamed = {"backward_trunk": ["backward_resblocks"], "forward_trunk": ["forward_resblocks"]}
    renamed |= {f"upconv{i}": [f"upsample{i}", "upsample_conv"] for i in (1, 2)}
    parts[:1] = renamed.get(parts[0], parts[:1])
    return ".".join(["generator", *parts])


@pytest.mark.parametrize("variant", ["vimeo_bi", "vimeo_bd", "reds4"])
def test_the_card_understands_other_names(variant: str) -> None:
    spec = next(weight for weight in registry.methods()["basicvsr"].card.weights if weight.name == variant)
    tensors = _tensors()
    forms: list[dict[str, Any]] = [
        {"params": tensors},
        tensors,
        {"params": {f"module.{name}": value for name, value in tensors.items()}},
        {
            "state_dict": {
                "step_counter": torch.zeros(1),
                **{_openmmlab(name): value for name, value in tensors.items()},
            }
        },
    ]
    assert "generator.spynet.basic_module.0.basic_module.4.conv.weight" in forms[-1]["state_dict"]
    for form in forms:
        shaped = shape_weight(spec, form)
        assert shaped.keys() == tensors.keys()
        assert all(torch.equal(shaped[name], value) for name, value in tensors.items())


# ---------------------------------------------------------------------- in a cascade


def test_as_second_stage_it_reads_spooled_frames_in_flat_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"vsr": "basicvsr", "vfi": "blend", "order": "vfi-vsr", "preset": "tiny"}
    blend = build_method("blend")
    blend.setup()
    most = {}
    for count in (4, 40):
        cascade = build_method("cascade", options)
        assert cascade.reads == "forward"
        cascade.setup()
        alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
        most[count] = 0
        first = cascade.vfi.restore  # type: ignore[attr-defined]

        def watched(
            *arguments: Any,
            first: Any = first,
            alive: weakref.WeakSet[torch.Tensor] = alive,
            count: int = count,
        ) -> Iterator[Frames]:
            for block in first(*arguments):
                for frame in block.split(1):
                    copy = frame.clone()
                    alive.add(copy)
                    most[count] = max(most[count], len(alive))
                    yield copy

        monkeypatch.setattr(cascade.vfi, "restore", watched)  # type: ignore[attr-defined]
        clip = _clip(count, 6, 8)
        report = Report()
        result = torch.cat(list(cascade.restore(clip, Request(4, 2, name=clip.name), report)))
        between = torch.cat(list(blend.restore(clip, Request(1, 2))))
        assert torch.equal(result, _restore(ArrayClip(between, name=clip.name)))
        assert [stage.name for stage in report.stages] == ["vfi/blend", "vsr/basicvsr"]
    assert most[4] == most[40] <= 2


def test_as_first_stage_it_still_reads_backwards() -> None:
    cascade = build_method("cascade", {"vsr": "basicvsr", "vfi": "blend", "preset": "tiny"})
    assert cascade.reads == "random"
    assert cascade.method_id == "basicvsr[preset=tiny]+blend"
