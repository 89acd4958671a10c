"""LPIPS against the lpips package with the same tensors, its shared feature, and its edges."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from stvsr_bench.core.errors import MetricError
from stvsr_bench.metrics.base import FrameBatch, build_metric
from stvsr_bench.metrics.catalog import CATALOG, MetricInfo
from stvsr_bench.metrics.functional.lpips import unit
from stvsr_bench.metrics.lpips import Lpips
from stvsr_bench.metrics.result import MetricResult
from stvsr_bench.nn.alexnet import AlexNetFeatures
from stvsr_bench.nn.vgg import Vgg16Features

ALEX, VGG = CATALOG["lpips_alex_v0.1"], CATALOG["lpips_vgg_v0.1"]

Run = Callable[..., MetricResult]
Noise = Callable[..., torch.Tensor]

both = pytest.mark.parametrize("info", [ALEX, VGG], ids=lambda i: i.id)


def _ready(info: MetricInfo) -> Lpips:
    metric = build_metric(info)
    assert isinstance(metric, Lpips)
    metric.setup("cpu")
    return metric


@both
@pytest.mark.parametrize(("height", "width"), [(31, 47), (65, 83), (64, 64)])
def test_it_equals_the_lpips_package(info: MetricInfo, height: int, width: int, noise: Noise) -> None:
    import lpips

    from stvsr_bench.weights import service

    net = str(info.params["net"])
    package = lpips.LPIPS(pretrained=False, net=net, pnet_rand=True, verbose=False).eval()
    state = package.state_dict()
    trunk, heads = (service.load_weight(weight) for weight in info.weights)
    for name in state:
        last = name.split(".")[-1]
        if name.startswith("net."):
            state[name] = trunk[f"features.{name.split('.')[2]}.{last}"]
        elif name.startswith("lin"):
            index = name.split(".")[1] if name.startswith("lins") else name[3]
            state[name] = heads[f"lin{index}.model.1.weight"]
    package.load_state_dict(state)

    pred, gt = noise(2, height, width, 1), noise(2, height, width, 2)
    with torch.no_grad():
        wanted, wanted_layers = package(pred / 127.5 - 1, gt / 127.5 - 1, retPerLayer=True)
    metric = _ready(info)
    batch = FrameBatch(pred, gt, [0, 1])
    assert metric.score(batch, None) == pytest.approx(wanted.flatten().tolist(), rel=0, abs=1e-6)
    for i, layers in enumerate(metric.layers(batch)):
        assert layers == pytest.approx([float(values[i]) for values in wanted_layers], rel=0, abs=1e-6)


@both
def test_identical_frames_give_exactly_zero(info: MetricInfo, run: Run, noise: Noise) -> None:
    frames = noise(2, 33, 41)
    assert run(info, frames, frames.clone()).values == (0.0, 0.0)


def test_alexnet_runs_once_for_each_frame_and_side(noise: Noise, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two metrics over the same batch, and the tail for the next one, share the features."""
    runs = 0
    forward = AlexNetFeatures.forward

    def counted(self: AlexNetFeatures, x: torch.Tensor) -> object:
        nonlocal runs
        runs += len(x)
        return forward(self, x)

    monkeypatch.setattr(AlexNetFeatures, "forward", counted)
    first, second = _ready(ALEX), _ready(ALEX)
    batch = FrameBatch(noise(3, 33, 41, 1), noise(3, 33, 41, 2), [0, 1, 2])
    assert first.score(batch, None) == second.score(batch, None)
    assert runs == 6
    tail = batch.tail()
    assert first.score(tail, None) == first.score(batch, None)[-1:]
    assert runs == 6
    assert isinstance(first, Lpips)
    assert first.network is not None
    maps = first.network.shared_maps(batch, "gt")
    assert runs == 6
    assert [tuple(m.shape[:2]) for m in maps] == [(3, 64), (3, 192), (3, 384), (3, 256), (3, 256)]
    assert all(torch.allclose(m.square().sum(1).sqrt(), torch.ones(()), atol=1e-4) for m in maps)


def test_vgg_keeps_no_maps_between_frames(noise: Noise) -> None:
    metric = _ready(VGG)
    batch = FrameBatch(noise(2, 33, 41, 1), noise(2, 33, 41, 2), [0, 1])
    metric.update(batch)
    assert {key for _, key in batch._features} <= {"u8", "rgb"}


def test_the_trunks_have_the_published_shapes() -> None:
    alex, vgg = AlexNetFeatures().state_dict(), Vgg16Features().state_dict()
    assert {name.split(".")[1] for name in alex} == {"0", "3", "6", "8", "10"}
    assert {int(name.split(".")[1]) for name in vgg} == {0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28}
    assert sum(t.numel() for t in alex.values()) == 2_469_696
    assert sum(t.numel() for t in vgg.values()) == 14_714_688


def test_a_pixel_without_features_stays_zero() -> None:
    features = torch.zeros(1, 4, 2, 2)
    features[0, :, 0, 0] = torch.tensor([3.0, 0, 4, 0])
    assert torch.equal(unit(features)[0, :, 0, 0], torch.tensor([0.6, 0, 0.8, 0]))
    assert not unit(features)[0, :, 1:].any()


def test_update_needs_setup(noise: Noise) -> None:
    metric = build_metric(ALEX)
    with pytest.raises(MetricError, match="not set up"):
        metric.update(FrameBatch(noise(1, 33, 41), noise(1, 33, 41), [0]))
