"""SPyNet's shapes and conventions, residual blocks and spilled tensors; the values stand in the golden tests."""

from __future__ import annotations

import pytest
import torch

from stvsr_bench.core.errors import BenchError
from stvsr_bench.nn.measure import StageClock
from stvsr_bench.nn.residual import ResidualBlock, ResidualTrunk
from stvsr_bench.nn.seeded import seed_parameters
from stvsr_bench.nn.spill import DiskSpill, MemorySpill, Spill
from stvsr_bench.nn.spynet import LEVELS, SPyNet


def _seeded(features: tuple[int, ...] = (8, 8, 8, 8)) -> SPyNet:
    net = SPyNet(features)
    seed_parameters(net, "test")
    return net.eval().requires_grad_(False)


def _images(count: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 70), (32, 32), (33, 64), (64, 96)])
def test_flow_has_the_size_of_the_images(height: int, width: int) -> None:
    images = _images(2, height, width)
    flow = _seeded()(images[:1], images[1:])
    assert flow.shape == (1, 2, height, width)
    assert flow.isfinite().all()


def test_levels_go_from_coarse_to_fine() -> None:
    net = _seeded()
    pyramid = net.pyramid(_images(1, 40, 70))
    assert [tuple(level.shape[-2:]) for level in pyramid] == [(2 * 2**i, 3 * 2**i) for i in range(LEVELS)]
    assert [flow.shape[-1] for flow in net.levels(pyramid, pyramid)] == [3 * 2**i for i in range(LEVELS)]


def test_flow_is_rescaled_to_pixels_of_the_images() -> None:
    """At a resized input, flow that is constant at the network's size is scaled by the ratio of the sides."""
    net = _seeded()
    for level in net.basic_module:
        for parameter in level.parameters():
            parameter.zero_()
    net.get_parameter("basic_module.5.basic_module.8.bias").copy_(torch.tensor([4.0, -8.0]))
    flow = net(_images(1, 48, 40), _images(1, 48, 40))
    torch.testing.assert_close(flow[0, 0], torch.full((48, 40), 4.0 * 40 / 64))
    torch.testing.assert_close(flow[0, 1], torch.full((48, 40), -8.0 * 48 / 64))


def test_slices_of_one_pyramid_serve_every_pair() -> None:
    net, images = _seeded(), _images(3, 40, 48)
    levels = net.pyramid(images)
    flow = net.flow([level[:-1] for level in levels], [level[1:] for level in levels], (40, 48))
    torch.testing.assert_close(flow, net(images[:-1], images[1:]), rtol=0, atol=1e-5)


def test_flow_is_float32_in_half_precision() -> None:
    images = _images(2, 32, 48)
    exact = _seeded()(images[:1], images[1:])
    half = _seeded().half()(images[:1].half(), images[1:].half())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, exact, rtol=0, atol=0.05)


@torch.no_grad()
def test_a_residual_block_adds_to_its_input() -> None:
    block, x = ResidualBlock(4), torch.randn(1, 4, 6, 7, generator=torch.Generator().manual_seed(1))
    before = x.clone()
    expected = x + block.conv2(torch.relu(block.conv1(x)))
    torch.testing.assert_close(block(x), expected)
    assert torch.equal(x, before), "the input is not written to"
    block.conv2.weight.zero_()
    block.conv2.bias.zero_()  # type: ignore[union-attr]
    assert torch.equal(block(x), x)


@torch.no_grad()
def test_a_trunk_is_convolution_leaky_relu_and_blocks() -> None:
    trunk, x = ResidualTrunk(5, 4, 2), torch.randn(1, 5, 6, 7, generator=torch.Generator().manual_seed(1))
    first, _, blocks = trunk.main
    inner = torch.nn.functional.leaky_relu(first(x), 0.1)
    torch.testing.assert_close(trunk(x), blocks[1](blocks[0](inner)))  # type: ignore[index]


@pytest.mark.parametrize("make", [MemorySpill, DiskSpill])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_spilled_tensors_come_back_to_the_bit(
    make: type[Spill], layout: torch.memory_format, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(1)
    tensors = [
        torch.randn(1, 6, 5, 7, generator=generator).to(dtype).contiguous(memory_format=layout) for _ in range(5)
    ]
    tensors[2] = tensors[2].contiguous()  # another layout than the first one's
    with make() as spill:
        for i in reversed(range(5)):
            spill.put(i, tensors[i])
        for i in range(5):
            back = spill.take(i)
            assert back.dtype == dtype
            assert torch.equal(back, tensors[i])


def test_a_paused_clock_stands() -> None:
    clock = StageClock(torch.device("cpu"))
    with clock:
        with clock.paused():
            _work(0.05)
        assert clock.seconds < 0.02
        _work(0.02)
    assert 0.02 <= clock.seconds < 0.05


def _work(seconds: float) -> None:
    import time

    time.sleep(seconds)


def test_an_error_inside_a_pause_is_not_swallowed() -> None:
    clock = StageClock(torch.device("cpu"))
    with pytest.raises(BenchError, match="stop"), clock, clock.paused():
        raise BenchError("stop")
