"""Warping, consistency, splatting and interpolation against hand-made motion and an independent implementation."""

from __future__ import annotations

import kornia
import pytest
import torch

from stvsr_bench.nn.consistency import consistent, cycle_error
from stvsr_bench.nn.interpolate import FlowPair
from stvsr_bench.nn.splat import forward_splat
from stvsr_bench.nn.warp import backward_warp, base_grid, inside


def _flow(dx: float, dy: float, height: int = 12, width: int = 16) -> torch.Tensor:
    return torch.tensor([float(dx), float(dy)]).view(1, 2, 1, 1).expand(1, 2, height, width).contiguous()


def _texture(height: int = 12, width: int = 16) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_zero_flow_is_the_identity(mode: str) -> None:
    image = _texture()
    torch.testing.assert_close(backward_warp(image, _flow(0, 0), mode=mode), image, rtol=0, atol=1e-5)


def test_a_flow_points_to_where_the_sample_is_taken() -> None:
    image = _texture()
    warped = backward_warp(image, _flow(3, -2))
    torch.testing.assert_close(warped[..., 2:, :-3], image[..., :-2, 3:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("padding", ["border", "zeros"])
def test_warp_equals_kornia_remap(padding: str) -> None:
    image, flow = _texture(), torch.randn(1, 2, 12, 16, generator=torch.Generator().manual_seed(4)) * 3
    at = base_grid(12, 16, torch.device("cpu")) + flow
    other = kornia.geometry.remap(image, at[:, 0], at[:, 1], mode="bilinear", padding_mode=padding, align_corners=True)
    torch.testing.assert_close(
        _inner(backward_warp(image, flow, padding=padding), flow), _inner(other, flow), rtol=0, atol=1e-4
    )


def _inner(image: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """Pixels whose sample lies within the frame (outside, the two conventions of `zeros` fade differently)."""
    return torch.where(inside(flow), image, 0.0)


def test_inside_is_the_frame_itself() -> None:
    flow = _flow(-4, 0)
    assert inside(flow)[0, 0].all(0).tolist() == [False] * 4 + [True] * 12


def test_opposite_flows_are_consistent_and_others_are_not() -> None:
    assert consistent(_flow(2, 1), _flow(-2, -1))[..., 1:-1, 2:-2].all()
    assert not consistent(_flow(2, 1), _flow(2, 1)).any()
    assert not consistent(_flow(2, 1), _flow(-2, -1))[..., -2:].any()  # leaves the frame
    torch.testing.assert_close(cycle_error(_flow(3, 0), _flow(0, 4)), torch.full((1, 1, 12, 16), 5.0))


def test_splat_moves_whole_pixels_and_splits_halves() -> None:
    values = torch.zeros(1, 5, 5)
    values[0, 2, 2] = 1.0
    weight = torch.ones(1, 5, 5)
    moved, arrived = forward_splat(values, torch.tensor([1.0, -1.0]).view(2, 1, 1).expand(2, 5, 5), weight)
    assert moved[0, 1, 3] == 1.0
    assert arrived[0, :, 0].sum() == 0  # nothing arrives in the column that was left
    assert arrived.sum() == 16  # the rest left the frame
    half, arrived = forward_splat(values, torch.tensor([0.5, 0.0]).view(2, 1, 1).expand(2, 5, 5), weight)
    assert half[0, 2, 2:4].tolist() == [0.5, 0.5]
    assert arrived[0, 2].tolist() == [0.5, 1, 1, 1, 1]


def test_splat_prefers_the_heavier_pixel() -> None:
    values = torch.tensor([[[1.0, 3.0]]])
    flow = torch.tensor([[[0.5, -0.5]], [[0.0, 0.0]]])
    mean, _ = forward_splat(values, flow, torch.tensor([[[3.0, 1.0]]]))
    torch.testing.assert_close(mean, torch.full((1, 1, 2), 1.5))


def test_splat_lets_far_pixels_leave_on_every_side() -> None:
    weight = torch.ones(1, 3, 3)
    for dx, dy in ((99, 0), (-99, 0), (0, 99), (0, -99), (3, 3), (-3, -3), (2.5, 2.5), (-2.5, -2.5)):
        flow = torch.tensor([float(dx), float(dy)]).view(2, 1, 1).expand(2, 3, 3)
        _, arrived = forward_splat(torch.ones(1, 3, 3), flow, weight)
        assert float(arrived.sum()) == {2.5: 0.25, -2.5: 0.25}.get(dx, 0.0)


@pytest.mark.parametrize("time", [0.25, 0.5, 0.75])
def test_interpolation_follows_an_exact_translation(time: float) -> None:
    """A smooth pattern that moves by (4, 2) pixels: the frame between is the pattern moved by that share."""
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(48.0), indexing="ij")

    def frame(t: float) -> torch.Tensor:
        return (0.5 + 0.4 * torch.sin((x - 4 * t) / 5) * torch.cos((y - 2 * t) / 6)).expand(1, 3, 40, 48).contiguous()

    pair = FlowPair(frame(0), frame(1), _flow(4, 2, 40, 48), _flow(-4, -2, 40, 48))
    inner = (..., slice(5, -5), slice(6, -6))
    torch.testing.assert_close(pair.at(time)[inner], frame(time)[inner], rtol=0, atol=2e-3)


def test_what_one_frame_alone_sees_is_taken_from_it() -> None:
    """A bright square moves right over a dark ground by 8 px with exact flow: no ghost of it stays or comes early."""
    first, second = torch.full((1, 3, 32, 48), 0.2), torch.full((1, 3, 32, 48), 0.2)
    first[..., 8:24, 8:20] = 0.9
    second[..., 8:24, 16:28] = 0.9
    forward, backward = torch.zeros(1, 2, 32, 48), torch.zeros(1, 2, 32, 48)
    forward[:, 0, 8:24, 8:20] = 8.0
    backward[:, 0, 8:24, 16:28] = -8.0
    middle = FlowPair(first, second, forward, backward).at(0.5)[0, 0]
    expected = torch.full((32, 48), 0.2)
    expected[8:24, 12:24] = 0.9
    wrong = (middle - expected).abs() > 0.1
    assert int(wrong.sum()) == 0
    ghost = (0.5 * first + 0.5 * second)[0, 0]
    assert int(((ghost - expected).abs() > 0.1).sum()) > 200  # what blending would show


def test_where_motions_differ_the_side_that_is_seen_by_both_wins() -> None:
    """A stripe on a moving square of the ground's colour: the ground that it will cover looks like a perfect match."""
    first, second = torch.full((1, 3, 32, 48), 0.2), torch.full((1, 3, 32, 48), 0.2)
    first[..., 8:24, 16:18] = 0.9  # the square is 8 … 19, and 16 … 27 in the second frame
    second[..., 8:24, 24:26] = 0.9
    forward, backward = torch.zeros(1, 2, 32, 48), torch.zeros(1, 2, 32, 48)
    forward[:, 0, 8:24, 8:20] = 8.0
    backward[:, 0, 8:24, 16:28] = -8.0
    middle = FlowPair(first, second, forward, backward).at(0.5)[0, 0]
    expected = torch.full((32, 48), 0.2)
    expected[8:24, 20:22] = 0.9
    torch.testing.assert_close(middle[10:22], expected[10:22], rtol=0, atol=0.05)
