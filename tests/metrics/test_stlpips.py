"""ST-LPIPS: the names of its parameters, its layers, and its edges; values are compared in ``tests/goldens``."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from stvsr_bench.core.errors import MetricError, WeightError
from stvsr_bench.metrics.base import FrameBatch, build_metric
from stvsr_bench.metrics.catalog import CATALOG, MetricInfo
from stvsr_bench.metrics.result import MetricResult
from stvsr_bench.metrics.stlpips import Net, StLpipsNetwork
from stvsr_bench.weights import service

ALEX, VGG = CATALOG["stlpips_alex"], CATALOG["stlpips_vgg"]

Run = Callable[..., MetricResult]
Noise = Callable[..., torch.Tensor]

both = pytest.mark.parametrize("info", [ALEX, VGG], ids=lambda i: i.id)
_ENDS = {"scaling_layer.shift", "scaling_layer.scale", *(f"lin{i}.model.1.weight" for i in range(5))}


@pytest.mark.parametrize(
    ("net", "convolutions", "filters", "floats"),
    [
        ("alex", ("1.0", "2.5", "3.9", "4.11", "5.13"), ("1.1", "2.4", "3.8"), 2_469_696),
        (
            "vgg",
            (*["1.0", "1.2", "2.6", "2.8", "3.12", "3.14", "3.16", "4.20", "4.22", "4.24", "5.28", "5.30", "5.32"],),
            ("2.5", "3.11", "4.19", "5.27"),
            14_714_688,
        ),
    ],
)
def test_the_parameters_have_the_published_names(
    net: Net, convolutions: tuple[str, ...], filters: tuple[str, ...], floats: int
) -> None:
    state = StLpipsNetwork(net).state_dict()
    trunk = {f"net.slice{name}.{kind}" for name in convolutions for kind in ("weight", "bias")}
    assert set(state) == trunk | {f"net.slice{name}.filt" for name in filters} | _ENDS
    assert sum(state[name].numel() for name in trunk) == floats
    assert len(state) == {"alex": 20, "vgg": 37}[net]


@both
def test_a_missing_or_superfluous_tensor_is_refused(info: MetricInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = dict(service.load_weight(info.weights[0]))
    tensors["lins.0.model.1.weight"] = tensors.pop("lin0.model.1.weight")
    monkeypatch.setattr(service, "load_weight", lambda weight: tensors)
    with pytest.raises(WeightError, match=r"1 missing: lin0.*1 unexpected: lins\.0"):
        build_metric(info).setup("cpu")


@pytest.mark.parametrize(
    ("net", "sizes"),
    # 47×61: alex 41×55 after the first convolution; each halving gives n // 2 + 1 or (n + 1) // 2 + 1
    [
        ("alex", [(64, 22, 29), (192, 11, 15), (384, 6, 8), (256, 6, 8), (256, 6, 8)]),
        ("vgg", [(64, 47, 61), (128, 24, 31), (256, 13, 16), (512, 7, 9), (512, 4, 5)]),
    ],
)
def test_the_sizes_of_the_maps(net: Net, sizes: list[tuple[int, int, int]]) -> None:
    with torch.inference_mode():
        maps = list(StLpipsNetwork(net).unit_maps(torch.rand(3, 47, 61)))
    assert [tuple(m.shape[1:]) for m in maps] == sizes


@both
def test_identical_frames_give_exactly_zero(info: MetricInfo, run: Run, noise: Noise) -> None:
    frames = noise(2, 33, 41)
    assert run(info, frames, frames.clone()).values == (0.0, 0.0)


def test_update_needs_setup(noise: Noise) -> None:
    with pytest.raises(MetricError, match="not set up"):
        build_metric(ALEX).update(FrameBatch(noise(1, 33, 41), noise(1, 33, 41), [0]))
