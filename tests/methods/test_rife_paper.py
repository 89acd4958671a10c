"""The RIFE of the paper as a method: bisection, any time, padding, test-time augmentation, and the network itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stvsr_bench.core.errors import ConfigError, IncompatibleError
from stvsr_bench.methods.base import Report, Request
from stvsr_bench.methods.factory import build_method
from stvsr_bench.methods.rife import Rife
from stvsr_bench.nn.ifnet_paper import IFNet
from stvsr_bench.nn.seeded import seed_parameters
from stvsr_bench.video.clip import ArrayClip, Frames

BOTH = pytest.mark.parametrize("variant", ["paper", "paper_m"])


def _method(variant: str, *, optimised: bool = True, dtype: str = "float32", **options: object) -> Rife:
    method = build_method("rife", {"variant": variant, "preset": "tiny", **options})
    assert isinstance(method, Rife)
    method.optimised = optimised
    method.setup("cpu", dtype)
    return method


def _restore(frames: Frames, time_scale: int, variant: str, **options: object) -> Frames:
    method = _method(variant, **options)  # type: ignore[arg-type]
    return torch.cat(list(method.restore(ArrayClip(frames), Request(1, time_scale))))


def _noise(count: int, height: int, width: int, seed: int = 0) -> Frames:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def _smooth(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Pairs ``(count, 6, height, width)`` of smooth float pictures."""
    coarse = torch.rand(count, 6, 5, 6, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1).contiguous()


def _network(timed: bool, *, optimised: bool = True) -> IFNet:
    """A toy-sized network whose flow reaches several pixels."""
    network = IFNet((16, 12, 8), 2, timed=timed, optimised=optimised)
    seed_parameters(network, "test", "rife")
    with torch.no_grad():
        for block in (network.block0, network.block1, network.block2):
            block.lastconv.weight *= 4
    layout = torch.channels_last if optimised else torch.contiguous_format
    return network.eval().requires_grad_(False).to(memory_format=layout)


# ---------------------------------------------------------------------- identity


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"variant": "paper"}, "rife[paper]"),
        ({"variant": "paper_m", "flow_scale": 1}, "rife[paper_m]"),
        ({"variant": "paper_m", "tta": True}, "rife[paper_m+tta]"),
        ({"variant": "paper", "refine": False}, "rife[paper+unrefined]"),
        ({"variant": "paper", "flow_scale": 0.5, "tta": True}, "rife[paper+tta+scale0.5]"),
        ({"variant": "paper_m", "preset": "tiny"}, "rife[paper_m,preset=tiny]"),
    ],
)
def test_what_moves_pixels_stands_in_the_id(options: dict[str, object], expected: str) -> None:
    assert build_method("rife", options).method_id == expected


def test_release_4_0_keeps_its_identity() -> None:
    """Stored results of 4.0 stay valid: the knobs of the paper's variants are no part of what they are known by."""
    expected = {"preset": None, "variant": "4.0", "refine": True, "ensemble": False, "flow_scale": 1.0}
    assert build_method("rife", {}).identity() == expected
    of_paper = {"preset": None, "variant": "paper", "refine": True, "tta": False, "flow_scale": 1.0}
    assert build_method("rife", {"variant": "paper"}).identity() == of_paper


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"variant": "paper", "ensemble": True}, "variant paper has no ensemble"),
        ({"variant": "4.0", "tta": True}, r"variant 4\.0 has no tta"),
        ({"variant": "4.0", "checkpoint": "flownet.pkl"}, r"variant 4\.0 has no checkpoint"),
        ({"variant": "paper", "tta": 1}, "tta"),
        ({"variant": "paper2"}, "variant 'paper2'"),
        ({"variant": "paper", "flow_scale": 8}, "flow_scale"),
        ({"variant": "paper", "checkpoint_hash": "0" * 64}, "checkpoint_hash"),
        ({"variant": "paper", "checkpoint": "a", "checkpoint_hash": "0" * 8}, "checkpoint_hash"),
        ({"variant": "paper", "checkpoint": "a", "preset": "tiny"}, "preset tiny"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        build_method("rife", options)


# ---------------------------------------------------------------------- times


@pytest.mark.parametrize("time_scale", [3, 5, 6, 16])
def test_bisection_refuses_other_factors_and_says_what_to_take(time_scale: int) -> None:
    method = _method("paper")
    with pytest.raises(IncompatibleError, match=rf"φt 1, 2, 4, 8, not {time_scale}; .*method\.variant=paper_m"):
        method.restore(ArrayClip(_noise(2, 20, 30)), Request(1, time_scale))


@pytest.mark.parametrize("optimised", [True, False])
@torch.inference_mode()
def test_bisection_is_the_middle_of_each_neighbouring_two(optimised: bool) -> None:
    """Guards against 8-bit frames in between, which would be off by up to 2e-3, and against a wrong order."""
    method = _method("paper", optimised=optimised)
    frames = torch.cat([_smooth(1, 64, 96).view(2, 3, 64, 96), _smooth(1, 64, 96, seed=1)[:, :3]])
    known = list(frames[:, None])
    for factor in (2, 4, 8):
        between = [method.network(torch.cat([a, b], 1)).output for a, b in pairwise(known)]
        known = [frame for both in zip(known, between, strict=False) for frame in both] + known[-1:]
        out = method.restore_float(frames, Request(1, factor))
        torch.testing.assert_close(out, torch.cat(known), rtol=0, atol=2e-6)
        assert torch.equal(out[::factor], frames)


@pytest.mark.parametrize("optimised", [True, False])
@torch.inference_mode()
def test_any_time_is_one_call_on_the_original_pair(optimised: bool) -> None:
    """Guards against bisection, against 1 - t, and against times counted from the wrong frame."""
    method = _method("paper_m", optimised=optimised)
    frames = _smooth(1, 64, 96).view(2, 3, 64, 96)
    pair = frames.reshape(1, 6, 64, 96)
    for factor in (2, 3, 4, 8):
        out = method.restore_float(frames, Request(1, factor))
        direct = [method.network(pair, torch.tensor([k / factor])).output for k in range(1, factor)]
        torch.testing.assert_close(out[1:-1], torch.cat(direct), rtol=0, atol=2e-6)
        assert not torch.allclose(out[1], out[-2], rtol=0, atol=1e-3) or factor == 2


@pytest.mark.parametrize(("variant", "factor"), [("paper", 8), ("paper_m", 5)])
def test_batches_do_not_show(variant: str, factor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an accelerator runs together gives what a CPU runs one by one."""
    frames = (_smooth(1, 33, 50)[0].view(2, 3, 33, 50) * 255).to(torch.uint8)
    alone = _restore(frames, factor, variant)
    monkeypatch.setattr(Rife, "_batches", _threes)
    assert int((_restore(frames, factor, variant).int() - alone.int()).abs().max()) <= 1


def _threes(self: Rife, count: int, pixels: int) -> Iterator[range]:
    del self, pixels
    for start in range(0, count, 3):
        yield range(start, min(start + 3, count))


# ---------------------------------------------------------------------- frames


@BOTH
@pytest.mark.parametrize(("count", "time_scale"), [(1, 2), (2, 1), (2, 8), (3, 4)])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 31), (33, 65)])
def test_source_frames_pass_and_all_sizes_work(
    variant: str, count: int, time_scale: int, height: int, width: int
) -> None:
    frames = _noise(count, height, width)
    out = _restore(frames, time_scale, variant)
    assert tuple(out.shape) == ((count - 1) * time_scale + 1, 3, height, width)
    assert torch.equal(out[::time_scale], frames)


@BOTH
def test_windows_do_not_show_and_runs_repeat(variant: str) -> None:
    frames = _noise(6, 24, 40)
    method = _method(variant)
    whole = torch.cat(list(method.restore(ArrayClip(frames), Request(1, 4))))
    assert torch.equal(_restore(frames, 4, variant), whole)
    method.chunk = 2
    report = Report()
    parts = torch.cat(list(method.restore(ArrayClip(frames), Request(1, 4), report)))
    assert report.plan["windows"] > 1
    assert torch.equal(parts, whole)


@BOTH
@pytest.mark.parametrize(("flow_scale", "multiple"), [(0.25, 128), (0.5, 64), (1, 32), (2, 32), (4, 32)])
def test_frames_are_padded_with_zeros_at_the_right_and_bottom(variant: str, flow_scale: float, multiple: int) -> None:
    method = _method(variant, flow_scale=flow_scale)
    seen: list[Tensor] = []
    method.network.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    frames = torch.rand(2, 3, 40, 33, generator=torch.Generator().manual_seed(0)) + 0.1
    method.restore_float(frames, Request(1, 2))
    (pair,) = seen
    assert pair.shape[-2:] == (-(-40 // multiple) * multiple, -(-33 // multiple) * multiple)
    assert torch.equal(pair[..., :40, :33], frames.reshape(1, 6, 40, 33))
    assert not pair[..., 40:, :].any()
    assert not pair[..., 33:].any()


@BOTH
def test_the_plain_form_computes_the_same(variant: str) -> None:
    frames = (_smooth(1, 40, 50)[0].view(2, 3, 40, 50) * 255).to(torch.uint8)
    fast, plain = (_restore(frames, 8, variant, optimised=optimised) for optimised in (True, False))
    assert int((plain.int() - fast.int()).abs().max()) <= 1


@BOTH
@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2), ("bfloat16", 12)])
def test_half_precision_stays_close(variant: str, dtype: str, tolerance: int) -> None:
    frames = (_smooth(1, 40, 50)[0].view(2, 3, 40, 50) * 255).to(torch.uint8)
    half, full = _restore(frames, 2, variant, dtype=dtype), _restore(frames, 2, variant)
    assert torch.equal(half[::2], frames)
    assert int((half.int() - full.int()).abs().max()) <= tolerance


@BOTH
def test_every_setting_moves_pixels(variant: str) -> None:
    frames = _noise(2, 40, 50)
    usual = _restore(frames, 2, variant)
    for knob, value in (("tta", True), ("refine", False), *(("flow_scale", scale) for scale in (0.25, 0.5, 2, 4))):
        assert not torch.equal(_restore(frames, 2, variant, **{knob: value}), usual), knob


# ---------------------------------------------------------------------- the network


def _literal(network: IFNet, pair: Tensor, time: float | None, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """The description of the network step by step, for one pair; without refinement."""
    first, second = pair[:, :3], pair[:, 3:]
    plane = [] if time is None else [torch.full_like(first[:, :1], time)]

    def warp(image: Tensor, flow: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
        shift = torch.stack([flow[:, 0] / ((width - 1) / 2), flow[:, 1] / ((height - 1) / 2)], -1)
        return F.grid_sample(image, torch.stack([x, y], -1) + shift, padding_mode="border", align_corners=True)

    found = network.block0(torch.cat([first, second, *plane], 1), None, 4 / scale)
    flow, logit = found[:, :4], found[:, 4:]
    for block, size in ((network.block1, 2 / scale), (network.block2, 1 / scale)):
        warped = warp(first, flow[:, :2]), warp(second, flow[:, 2:])
        found = block(torch.cat([first, second, *plane, *warped, logit], 1), flow, size)
        flow, logit = flow + found[:, :4], logit + found[:, 4:]
    mask = torch.sigmoid(logit)
    return flow, mask, warp(first, flow[:, :2]) * mask + warp(second, flow[:, 2:]) * (1 - mask)


@pytest.mark.parametrize("optimised", [True, False])
@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("time", [None, 0.3])
@torch.inference_mode()
def test_network_equals_a_literal_reading(time: float | None, scale: float, optimised: bool) -> None:
    network, pair = _network(time is not None, optimised=optimised), _smooth(1, 64, 96)
    flow, mask, blend = _literal(network, pair, time, scale)
    assert float(flow.abs().max()) > 1
    found = network(pair, None if time is None else torch.tensor([time]), flow_scale=scale, refine=False)
    torch.testing.assert_close(found.flow, flow, rtol=0, atol=1e-3)
    torch.testing.assert_close(found.mask, mask, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.blend, blend, rtol=0, atol=1e-4)
    assert torch.equal(found.output, found.blend)


@torch.inference_mode()
def test_items_of_a_batch_have_their_own_times_and_do_not_meet() -> None:
    network, pairs = _network(True), _smooth(3, 64, 64)
    times = torch.tensor([0.25, 0.5, 0.8])
    batch = network(pairs, times)
    for item in range(3):
        alone = network(pairs[item : item + 1], times[item : item + 1])
        for whole, part in zip(batch, alone, strict=True):
            torch.testing.assert_close(part[0], whole[item], rtol=0, atol=1e-4)
    swapped = network(pairs, times.flip(0))
    assert not torch.allclose(swapped.flow[0], batch.flow[0], rtol=0, atol=1e-2)


@torch.inference_mode()
def test_test_time_augmentation_turns_padded_frames_and_keeps_their_order() -> None:
    network, pair, time = _network(True), _smooth(1, 64, 96), torch.tensor([0.25])
    once = network(pair, time)
    turned = network(torch.flip(pair, (-2, -1)), time).output.flip(-2, -1)
    both = network(pair, time, tta=True)
    torch.testing.assert_close(both.output, (once.output + turned) / 2, rtol=0, atol=1e-6)
    assert torch.equal(both.flow, once.flow)
    assert not torch.allclose(both.output, once.output, rtol=0, atol=1e-3)


@torch.inference_mode()
def test_a_network_without_refinement_ends_with_the_blend() -> None:
    """What other methods build on: three blocks, no other parameters, the same flow."""
    whole, blocks = _network(True), IFNet((16, 12, 8), timed=True, refine=False)
    blocks.load_state_dict({k: v for k, v in whole.state_dict().items() if k.startswith("block")})
    blocks.eval().to(memory_format=torch.channels_last)
    pair, time = _smooth(2, 64, 64), torch.tensor([0.3, 0.6])
    found, expected = blocks(pair, time), whole(pair, time)
    for name in ("flow", "mask", "warped", "blend"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
    assert torch.equal(found.output, expected.blend)
    assert not torch.equal(expected.output, expected.blend)
    assert 0 <= float(expected.output.min()) <= float(expected.output.max()) <= 1


def test_calls_that_cannot_be_meant_are_errors() -> None:
    timed, middle = _network(True), _network(False)
    pair = _smooth(1, 64, 64)
    with pytest.raises(ValueError, match="needs a time"):
        timed(pair)
    with pytest.raises(ValueError, match="no other takes one"):
        middle(pair, torch.tensor([0.5]))
    with pytest.raises(ValueError, match="multiples of 16"):
        middle(_smooth(1, 40, 64), flow_scale=2)
    with pytest.raises(ValueError, match="multiples of 64"):
        middle(_smooth(1, 32, 64), flow_scale=0.25)
