"""RIFE: its identity, its batches, and the network against a literal reading of its description."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stvsr_bench.core.errors import ConfigError, WeightError
from stvsr_bench.methods.base import Report, Request
from stvsr_bench.methods.factory import build_method
from stvsr_bench.methods.rife import Rife
from stvsr_bench.nn.rife4 import Rife4
from stvsr_bench.nn.seeded import seed_parameters
from stvsr_bench.video.clip import ArrayClip, Frames

WEIGHT = "2d42c7d69b0705ab9b67937c277dc61cd66ecf0cf37de0b55b5180d173b51cfa"


def _method(**options: object) -> Rife:
    method = build_method("rife", options)
    assert isinstance(method, Rife)
    return method


def _restore(frames: Frames, time_scale: int, **options: object) -> Frames:
    method = _method(preset="tiny", **options)
    method.setup()
    return torch.cat(list(method.restore(ArrayClip(frames), Request(1, time_scale))))


def _noise(count: int, height: int, width: int, seed: int = 0) -> Frames:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def _smooth(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Pairs ``(count, 6, height, width)`` of smooth float pictures."""
    coarse = torch.rand(count, 6, 5, 6, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1).contiguous()


def _network(gain: float = 1.0, *, optimised: bool = True) -> Rife4:
    """A toy-sized network; ``gain`` multiplies the flow that the second block adds."""
    network = Rife4((16, 12, 8, 8), 2, optimised=optimised)
    seed_parameters(network, "test", "rife")
    with torch.no_grad():
        network.block1.lastconv.weight[:, :4] *= gain
    layout = torch.channels_last if optimised else torch.contiguous_format
    return network.eval().requires_grad_(False).to(memory_format=layout)


# ---------------------------------------------------------------------- identity


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "rife[4.0+refine]"),
        ({"variant": 4.0, "flow_scale": 1, "scale": 1, "time_scale": 4}, "rife[4.0+refine]"),
        ({"refine": False}, "rife[4.0]"),
        ({"ensemble": True}, "rife[4.0+refine+ensemble]"),
        ({"flow_scale": 0.5}, "rife[4.0+refine+scale0.5]"),
        ({"flow_scale": 2, "refine": False, "ensemble": True}, "rife[4.0+ensemble+scale2]"),
        ({"preset": "tiny"}, "rife[4.0+refine,preset=tiny]"),
    ],
)
def test_what_moves_pixels_stands_in_the_id(options: dict[str, object], expected: str) -> None:
    method = _method(**options)
    assert method.method_id == method.label == expected


def test_the_id_stands_in_cascades_too() -> None:
    assert build_method("cascade", {"vsr": "bicubic", "vfi": "rife"}).method_id == "bicubic+rife[4.0+refine]"
    options = {"vsr": "bicubic", "vfi": "rife", "order": "vfi-vsr", "vfi_options": {"refine": False}}
    assert build_method("cascade", options).method_id == "rife[4.0]+bicubic"


def test_spellings_of_one_setting_are_one_identity() -> None:
    assert _method(variant=4.0, flow_scale=2).identity() == _method(variant="4.0", flow_scale=2.0).identity()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"variant": "4.6"}, "variant '4.6'"),
        ({"variant": None}, "variant 'None'"),
        ({"refine": "yes"}, "refine"),
        ({"ensemble": 1}, "ensemble"),
        ({"flow_scale": 3}, "flow_scale"),
        ({"flow_scale": True}, "flow_scale"),
        ({"flow_scale": "half"}, "flow_scale"),
        ({"preset": "large"}, "preset"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        _method(**options)


def test_trained_and_untrained_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STVSR_BENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    published = _method()
    assert not published.untrained
    assert published.weights_hashes() == {"rife/4.0": WEIGHT}
    with pytest.raises(WeightError, match=r"rife/4\.0"):
        published.setup()
    for method in (_method(preset="tiny"), _method(allow_untrained=True)):
        assert method.untrained
        assert method.weights_hashes() == {}
        method.setup()
        frames = _noise(2, 20, 30)
        assert len(torch.cat(list(method.restore(ArrayClip(frames), Request(1, 2))))) == 3
        method.close()


# ---------------------------------------------------------------------- frames


@pytest.mark.parametrize(("count", "time_scale"), [(1, 2), (2, 1), (2, 8), (3, 5)])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 31), (130, 129)])
def test_source_frames_pass_and_all_sizes_work(count: int, height: int, width: int, time_scale: int) -> None:
    frames = _noise(count, height, width)
    out = _restore(frames, time_scale)
    assert tuple(out.shape) == ((count - 1) * time_scale + 1, 3, height, width)
    assert torch.equal(out[::time_scale], frames)


@pytest.mark.parametrize("flow_scale", [0.25, 0.5, 2, 4])
def test_every_flow_scale_works_and_moves_pixels(flow_scale: float) -> None:
    frames = _noise(2, 40, 50)
    assert not torch.equal(_restore(frames, 2, flow_scale=flow_scale), _restore(frames, 2))


def test_identical_frames_and_black_frames_stay_finite() -> None:
    for frame in (_noise(1, 33, 47), torch.zeros(1, 3, 33, 47, dtype=torch.uint8)):
        out = _restore(frame.expand(3, -1, -1, -1).contiguous(), 4, ensemble=True)
        assert torch.equal(out[::4], frame.expand(3, -1, -1, -1))


def test_each_wanted_frame_is_one_call_at_its_own_time() -> None:
    """φt 4 holds the middle frames of φt 2, and every pair is by itself."""
    frames = _noise(3, 40, 50)
    four, two = _restore(frames, 4), _restore(frames, 2)
    assert torch.equal(four[::2], two)
    assert not torch.equal(four[1], four[2])
    assert torch.equal(_restore(frames[1:], 4), four[4:])


def test_windows_do_not_show() -> None:
    frames = _noise(7, 24, 40)
    method = _method(preset="tiny")
    method.setup()
    whole = torch.cat(list(method.restore(ArrayClip(frames), Request(1, 3))))
    method.chunk = 2
    report = Report()
    parts = torch.cat(list(method.restore(ArrayClip(frames), Request(1, 3), report)))
    assert report.plan["windows"] > 1
    assert torch.equal(parts, whole)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2), ("bfloat16", 12)])
def test_half_precision_stays_close(dtype: str, tolerance: int) -> None:
    frames = (_smooth(1, 40, 50)[0].view(2, 3, 40, 50) * 255).to(torch.uint8)
    method = _method(preset="tiny")
    method.setup("cpu", dtype)
    half = torch.cat(list(method.restore(ArrayClip(frames), Request(1, 2))))
    full = _restore(frames, 2)
    assert torch.equal(half[::2], frames)
    assert int((half.int() - full.int()).abs().max()) <= tolerance


def test_the_plain_form_computes_the_same() -> None:
    frames = _noise(3, 40, 50)
    method = _method(preset="tiny")
    method.optimised = False
    method.setup()
    plain = torch.cat(list(method.restore(ArrayClip(frames), Request(1, 3))))
    assert int((plain.int() - _restore(frames, 3).int()).abs().max()) <= 1


# ---------------------------------------------------------------------- the network


def _literal(network: Rife4, pair: Tensor, time: float, scale: float, ensemble: bool) -> tuple[Tensor, Tensor, bool]:
    """The description of the network step by step, for one pair; without refinement."""
    first, second = pair[:, :3], pair[:, 3:]
    plane = torch.full_like(first[:, :1], time)

    def warp(image: Tensor, flow: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
        shift = torch.stack([flow[:, 0] / ((width - 1) / 2), flow[:, 1] / ((height - 1) / 2)], -1)
        grid = torch.stack([x, y], -1) + shift
        return F.grid_sample(image, grid, padding_mode="border", align_corners=True)

    def block(
        number: int, a: Tensor, b: Tensor, t: Tensor, logit: Tensor | None, flow: Tensor | None, s: float
    ) -> Tensor:
        x = torch.cat([a, b, t] if logit is None else [a, b, t, logit], 1)
        out: Tensor = network.get_submodule(f"block{number}")(x, flow, s)
        return out

    def mean(one: Tensor, two: Tensor) -> Tensor:
        return torch.cat([one[:, :2] + two[:, 2:4], one[:, 2:4] + two[:, :2], one[:, 4:] - two[:, 4:]], 1) / 2

    def turned(flow: Tensor) -> Tensor:
        return torch.cat([flow[:, 2:], flow[:, :2]], 1)

    scales = [8 / scale, 4 / scale, 2 / scale, 1 / scale]
    found = block(0, first, second, plane, None, None, scales[0])
    if ensemble:
        found = mean(found, block(0, second, first, 1 - plane, None, None, scales[0]))
    flow, logit = found[:, :4], found[:, 4:]
    a, b = warp(first, flow[:, :2]), warp(second, flow[:, 2:])
    doubled = False
    for number in (1, 2, 3):
        found = block(number, a, b, plane, logit, flow, scales[number])
        if number == 1 and float(found[:, :2].abs().max()) > 32 and float(found[:, 2:4].abs().max()) > 32:
            doubled = True
            scales = [2 * s for s in scales]
            found = block(0, first, second, plane, None, None, scales[0])
            flow, logit = found[:, :4], found[:, 4:]
            a, b = warp(first, flow[:, :2]), warp(second, flow[:, 2:])
            found = block(1, a, b, plane, logit, flow, scales[1])
        if ensemble:
            found = mean(found, block(number, b, a, 1 - plane, -logit, turned(flow), scales[number]))
        flow, logit = flow + found[:, :4], logit + found[:, 4:]
        a, b = warp(first, flow[:, :2]), warp(second, flow[:, 2:])
    mask = torch.sigmoid(logit)
    return a * mask + b * (1 - mask), flow, doubled


@pytest.mark.parametrize("ensemble", [False, True])
@pytest.mark.parametrize(("gain", "fires"), [(0.1, False), (60.0, True)])
@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_network_equals_a_literal_reading(ensemble: bool, gain: float, fires: bool, scale: float) -> None:
    network, pair = _network(gain), _smooth(1, 128, 128)
    with torch.inference_mode():
        expected, flow, doubled = _literal(network, pair, 0.3, scale, ensemble)
        found = network(pair, torch.tensor([0.3]), flow_scale=scale, ensemble=ensemble, refine=False)
    assert found.doubled.tolist() == [doubled] == [fires]
    torch.testing.assert_close(found.flow, flow, rtol=1e-4, atol=3e-3)
    torch.testing.assert_close(found.output, expected, rtol=0, atol=3e-4)


@pytest.mark.parametrize("ensemble", [False, True])
@pytest.mark.parametrize("optimised", [False, True])
def test_one_fast_pair_in_a_batch_leaves_the_others_alone(ensemble: bool, optimised: bool) -> None:
    """The doubling is decided for each pair: a batch gives what each pair gives alone."""
    network, pairs = _network(gain=8.9, optimised=optimised), _smooth(4, 64, 64, seed=5)
    times = torch.tensor([0.25, 0.5, 0.75, 0.5])
    with torch.inference_mode():
        batch = network(pairs, times, ensemble=ensemble)
        assert sum(batch.doubled.tolist()) == 1
        for item in range(4):
            alone = network(pairs[item : item + 1], times[item : item + 1], ensemble=ensemble)
            assert alone.doubled.tolist() == [bool(batch.doubled[item])]
            torch.testing.assert_close(alone.flow[0], batch.flow[item], rtol=1e-4, atol=3e-3)
            torch.testing.assert_close(alone.output[0], batch.output[item], rtol=0, atol=3e-4)
