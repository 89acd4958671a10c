"""DOVER's aesthetic trunk: its depthwise convolution against torch's own, and its shape."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from stvsr_bench.metrics.dover.convnext import InflatedConvNext, _Depthwise
from stvsr_bench.nn.seeded import seed_parameters


@pytest.mark.parametrize("time", [1, 3])
@pytest.mark.parametrize("frames", [1, 2, 5])
@torch.inference_mode()
def test_depthwise_is_a_grouped_convolution(time: int, frames: int) -> None:
    layer = _Depthwise(6, time)
    seed_parameters(layer, "depthwise")
    x = torch.randn(2, 6, frames, 9, 11, generator=torch.Generator().manual_seed(1))
    weight, bias = layer.weight.double(), layer.bias
    assert bias is not None
    expected = F.conv3d(x.double(), weight, bias.double(), padding=(time // 2, 3, 3), groups=6)
    torch.testing.assert_close(layer(x).double(), expected, atol=1e-6, rtol=0)


@torch.inference_mode()
def test_shape_and_which_blocks_look_through_time() -> None:
    network = InflatedConvNext(4, (3, 3, 4, 1)).eval()
    seed_parameters(network, "convnext")
    assert [block.dwconv.weight.shape[2] for block in network.stages[2]] == [1, 3, 1, 1]  # type: ignore[union-attr]
    clip = torch.randn(2, 3, 8, 64, 96, generator=torch.Generator().manual_seed(2))
    features = network(clip)
    assert features.shape == (2, 32, 4, 2, 3)
    torch.testing.assert_close(features[1:], network(clip[1:]), atol=1e-5, rtol=0)
