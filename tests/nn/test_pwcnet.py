"""PWC-Net: the cost volume against a naive loop, the warp's mask, sizes, pyramids used twice."""

from __future__ import annotations

import pytest
import torch

from stvsr_bench.nn.correlation import correlation
from stvsr_bench.nn.pwcnet import PwcNet, _warped, full_flow
from stvsr_bench.nn.seeded import seed_parameters


@pytest.fixture(scope="module")
def network() -> PwcNet:
    net = PwcNet()
    seed_parameters(net, "pwcnet")
    return net.eval().requires_grad_(False)


def test_correlation_against_a_naive_loop() -> None:
    generator = torch.Generator().manual_seed(1)
    first, second = torch.randn(2, 2, 5, 6, 7, generator=generator)
    found = correlation(first, second, radius=2)
    assert found.shape == (2, 25, 6, 7)
    for c in range(25):
        dx, dy = c % 5 - 2, c // 5 - 2
        for y in range(6):
            for x in range(7):
                inside = 0 <= y + dy < 6 and 0 <= x + dx < 7
                wanted = (first[:, :, y, x] * second[:, :, y + dy, x + dx]).mean(1) if inside else torch.zeros(2)
                assert torch.allclose(found[:, c, y, x], wanted, atol=1e-6)


def test_warping_is_slightly_too_long_and_masked() -> None:
    """A flow of d pixels moves by d W / (W - 1), and samples that are not wholly inside are 0."""
    ramp = torch.arange(11.0).expand(1, 1, 4, 11) + 1
    flow = torch.zeros(1, 2, 4, 11)
    flow[:, 0] = 2.0
    moved = _warped(ramp, flow)[0, 0, 1]
    assert moved[:8].tolist() == pytest.approx([x + 1 + 2 * 11 / 10 for x in range(8)], abs=1e-4)
    assert moved[8:].tolist() == [0, 0, 0]


@pytest.mark.parametrize("size", [(64, 64), (65, 130), (20, 31)])
def test_any_size_and_pyramids_serve_twice(network: PwcNet, size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(2)
    frames = torch.rand(3, 1, 3, *size, generator=generator)
    pyramids = [network.pyramid(frame) for frame in frames]
    assert [level.shape[1] for level in pyramids[0]] == [32, 64, 96, 128, 196]
    for i in range(2):
        flow = full_flow(network.compact_flow(pyramids[i], pyramids[i + 1]), *size)
        assert flow.shape == (1, 2, *size)
        assert torch.equal(flow, network(frames[i], frames[i + 1]))
    assert not torch.equal(network(frames[0], frames[1]), network(frames[1], frames[0]))


def test_flow_in_pixels_of_the_frame() -> None:
    """Frames were enlarged to 64×128: a flow of 1/20 there is 30/64 rows and 100/128 columns here."""
    flow = full_flow(torch.full((1, 2, 16, 32), 1 / 20), 30, 100)
    assert flow[0, 0].unique().tolist() == pytest.approx([100 / 128])
    assert flow[0, 1].unique().tolist() == pytest.approx([30 / 64])


def test_there_are_126_tensors_of_the_published_shapes(network: PwcNet) -> None:
    tensors = network.state_dict()
    assert len(tensors) == 126
    assert sum(tensor.numel() for tensor in tensors.values()) == 9_374_274
