"""Cascades: order, identity, laziness, times, options, refusals."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from fractions import Fraction

import pytest
import torch

from stvsr_bench.core.errors import ConfigError, IncompatibleError, MethodError
from stvsr_bench.methods.base import Method, Report, Request
from stvsr_bench.methods.factory import build_method
from stvsr_bench.video.clip import ArrayClip, Frames


def _clip(count: int = 5, height: int = 40, width: int = 36) -> ArrayClip:
    frames = torch.randint(0, 256, (count, 3, height, width), generator=torch.Generator().manual_seed(1))
    return ArrayClip(frames.to(torch.uint8), frame_rate=Fraction(25))


def _restore(method: Method, clip: ArrayClip, scale: int, time_scale: int, report: Report | None = None) -> Frames:
    method.setup()
    return torch.cat(list(method.restore(clip, Request(scale, time_scale, name=clip.name), report)))


@pytest.mark.parametrize("order", ["vsr-vfi", "vfi-vsr"])
def test_a_cascade_is_its_stages_one_after_the_other(order: str) -> None:
    clip = _clip()
    cascade = build_method("cascade", {"vsr": "bicubic", "vfi": "dis_flow", "order": order})
    bicubic, flow = build_method("bicubic"), build_method("dis_flow")
    if order == "vsr-vfi":
        expected = _restore(flow, ArrayClip(_restore(bicubic, clip, 3, 1)), 1, 2)
    else:
        expected = _restore(bicubic, ArrayClip(_restore(flow, clip, 1, 2)), 3, 1)
    assert torch.equal(_restore(cascade, clip, 3, 2), expected)


def test_the_order_is_part_of_the_result_and_the_id() -> None:
    clip = _clip()
    first = build_method("cascade", {"vsr": "bicubic", "vfi": "dis_flow"})
    second = build_method("cascade", {"vsr": "bicubic", "vfi": "dis_flow", "order": "vfi-vsr"})
    assert (first.method_id, second.method_id) == ("bicubic+dis_flow", "dis_flow+bicubic")
    assert first.identity() != second.identity()
    assert not torch.equal(_restore(first, clip, 2, 2), _restore(second, clip, 2, 2))


@pytest.mark.parametrize("vfi", ["blend", "dis_flow"])
def test_ready_and_spelled_out_cascades_are_one_method(vfi: str) -> None:
    ready = build_method(f"bicubic_{vfi}")
    spelled = build_method("cascade", {"vsr": "bicubic", "vfi": vfi, "order": "vsr-vfi"})
    assert ready.method_id == spelled.method_id == f"bicubic+{vfi}"
    assert (ready.name, ready.version, ready.identity()) == (spelled.name, spelled.version, spelled.identity())


def test_stages_are_reported_apart_and_in_order() -> None:
    for order, names in (("vsr-vfi", ["vsr/bicubic", "vfi/blend"]), ("vfi-vsr", ["vfi/blend", "vsr/bicubic"])):
        report = Report()
        _restore(build_method("cascade", {"vsr": "bicubic", "vfi": "blend", "order": order}), _clip(), 2, 3, report)
        assert [stage.name for stage in report.stages] == names
        assert [stage.frames for stage in report.stages] == ([5, 13] if order == "vsr-vfi" else [13, 13])
        assert set(report.plan) == {"vsr", "vfi"}
        assert all("chunk" in plan for plan in report.plan.values())


def test_a_stage_is_not_charged_for_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    cascade = build_method("bicubic_blend")
    vsr = cascade.vsr  # type: ignore[attr-defined]
    block = vsr.restore_block

    def slow(frames: Frames, request: Request) -> torch.Tensor:
        time.sleep(0.2)
        return block(frames, request)

    monkeypatch.setattr(vsr, "restore_block", slow)
    report = Report()
    _restore(cascade, _clip(), 2, 2, report)
    first, second = report.stages
    assert first.seconds >= 0.2
    assert second.seconds < 0.2


def test_the_second_stage_takes_frames_as_they_are_made() -> None:
    class Watched(ArrayClip):
        most = 0

        def read(self, indices: Sequence[int]) -> Frames:
            self.most = max(self.most, *indices)
            return super().read(indices)

    clip = Watched(_clip(100, 8, 8).frames)
    cascade = build_method("bicubic_blend")
    cascade.setup()
    blocks: Iterator[Frames] = cascade.restore(clip, Request(2, 2))
    next(blocks)
    assert clip.most < 20
    blocks.close()  # type: ignore[attr-defined]


def test_preset_goes_to_every_stage_that_has_it() -> None:
    assert build_method("bicubic_dis_flow", {"preset": "fast"}).method_id == "bicubic+dis_flow[preset=fast]"
    with pytest.raises(ConfigError, match="no preset 'huge'; accepted: fast, medium, ultrafast"):
        build_method("bicubic_dis_flow", {"preset": "huge"})
    with pytest.raises(ConfigError, match="no presets"):
        build_method("bicubic_blend", {"preset": "fast"})


def test_options_reach_one_stage() -> None:
    method = build_method("bicubic_dis_flow", {"vfi_options": {"preset": "ultrafast"}})
    assert method.method_id == "bicubic+dis_flow[preset=ultrafast]"
    with pytest.raises(ConfigError, match="method 'dis_flow' has no option 'presett'; accepted: nearest known: preset"):
        build_method("bicubic_dis_flow", {"vfi_options": {"presett": "fast"}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs method.vsr"),
        ({"vsr": "bicubic"}, "needs method.vfi"),
        ({"vsr": "blend", "vfi": "blend"}, "a method whose task is vfi"),
        ({"vsr": "bicubic", "vfi": "bicubic"}, "a method whose task is vsr"),
        ({"vsr": "cascade", "vfi": "blend"}, "another cascade"),
        ({"vsr": "bicubic", "vfi": "bicubic_blend"}, "another cascade"),
        ({"vsr": "outputs", "vfi": "blend"}, "a method whose task is stvsr"),
        ({"vsr": "bicubic", "vfi": "blend", "order": "vsr+vfi"}, "vsr-vfi or vfi-vsr"),
        ({"vsr": "bicubc", "vfi": "blend"}, "nearest known: bicubic"),
    ],
)
def test_what_is_no_cascade_is_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_method("cascade", options)
    assert message in str(caught.value)


def test_an_announced_stage_says_so() -> None:
    with pytest.raises(MethodError, match="method 'star' cannot run yet"):
        build_method("cascade", {"vsr": "star", "vfi": "dis_flow"})


def test_factors_are_those_of_the_stages() -> None:
    method = build_method("bicubic_blend", {"scale": 4, "vfi_options": {"time_scale": 2}})
    assert method.factors() == (4, 2)
    method.setup()
    with pytest.raises(IncompatibleError, match="time_scale=2"):
        method.restore(_clip(), Request(4, 4))
