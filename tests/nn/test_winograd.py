"""The convolution by Winograd's algorithm against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stvsr_bench.nn.winograd import WinogradConv2d


def _exact(layer: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    assert layer.bias is not None
    return nn.functional.conv2d(x.double(), layer.weight.double(), layer.bias.double(), padding=1)


def _layer(inputs: int, outputs: int) -> WinogradConv2d:
    torch.manual_seed(inputs + outputs)
    return WinogradConv2d(inputs, outputs)


@pytest.mark.parametrize(
    ("inputs", "outputs", "height", "width"),
    [
        (64, 128, 32, 32),
        (64, 128, 29, 35),
        (128, 64, 31, 66),
        (128, 128, 4, 300),
        (96, 160, 33, 30),
        (256, 256, 40, 90),
    ],
)
def test_it_is_a_convolution(inputs: int, outputs: int, height: int, width: int) -> None:
    layer = _layer(inputs, outputs)
    x = torch.randn(2, inputs, height, width)
    with torch.inference_mode():
        found = layer(x)
        exact = _exact(layer, x)
    assert found.shape == exact.shape
    assert found.is_contiguous(memory_format=torch.channels_last)
    spread = float(exact.std())
    assert float((found - exact).abs().max()) < 1e-4 * spread
    assert float((found - exact).square().mean().sqrt()) < 4e-6 * spread
    with torch.inference_mode():  # neither the batch nor the memory's order is seen
        assert torch.equal(layer(x[1:]), found[1:])
        assert torch.equal(layer(x.to(memory_format=torch.channels_last)), found)


def test_some_rows_at_a_time_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = _layer(64, 128), torch.randn(1, 64, 50, 60)
    with torch.inference_mode():
        whole = layer(x)
        monkeypatch.setattr("stvsr_bench.nn.winograd._WORKSPACE", 5 * 15 * 36 * 128)  # 5 rows of tiles, 13 in all
        assert torch.allclose(layer(x), whole, rtol=0, atol=1e-5)
        monkeypatch.setattr("stvsr_bench.nn.winograd._WORKSPACE", 1)
        assert torch.allclose(layer(x), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", ["tiny map", "few channels", "gradients", "double"])
def test_elsewhere_it_is_torch_s_convolution_to_the_bit(case: str) -> None:
    layer = _layer(*((16, 32) if case == "few channels" else (64, 128)))
    side = 12 if case == "tiny map" else 40
    x = torch.randn(1, layer.in_channels, side, side)
    if case == "double":
        layer, x = layer.double(), x.double()
    if case == "gradients":
        out = layer(x)
        out.sum().backward()
        assert layer.weight.grad is not None
    else:
        with torch.inference_mode():
            out = layer(x)
    assert torch.equal(out, nn.Conv2d.forward(layer, x))


def test_written_parameters_are_seen() -> None:
    layer, x = _layer(64, 128), torch.randn(1, 64, 40, 40)
    other = _layer(128, 64)  # another seed
    values = {"weight": torch.randn(128, 64, 3, 3) / 24, "bias": torch.randn(128)}
    with torch.inference_mode():
        before = layer(x)
    layer.load_state_dict(values)
    with torch.inference_mode():
        after = layer(x)
        assert not torch.allclose(before, after, atol=1e-2)
        assert torch.allclose(after.double(), _exact(layer, x), atol=1e-3)
    assert set(layer.state_dict()) == set(other.state_dict()) == {"weight", "bias"}
