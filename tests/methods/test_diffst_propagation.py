"""Warp, validity mask and both recurrences of DiffST on motion known by hand. Each test says which fault it catches."""

from __future__ import annotations

import pytest
import torch

from stvsr_bench.methods.diffst.flow import KeyMotion
from stvsr_bench.methods.diffst.propagation import Propagation, valid
from stvsr_bench.nn.warp import flow_warp

CPU = torch.device("cpu")
HEIGHT, WIDTH = 16, 32  # powers of two: sampling positions are exact


def _flow(dx: float, dy: float = 0.0, height: int = HEIGHT, width: int = WIDTH) -> torch.Tensor:
    return torch.tensor([float(dx), float(dy)]).view(1, 2, 1, 1).repeat(1, 1, height, width)


def _clip(count: int = 4, height: int = HEIGHT, width: int = WIDTH) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(7))


def _motions(count: int, dx: float = 0.0, seen: bool | None = None) -> list[KeyMotion]:
    masks = () if seen is None else (torch.full((1, 1, HEIGHT, WIDTH), seen),) * 2
    return [KeyMotion(_flow(dx), _flow(-dx), *masks) for _ in range(count - 1)]


def _videos(
    keyframes: torch.Tensor, motions: list[KeyMotion], propagation: Propagation | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Input, forward and backward video, each ``(n, 3, h, w)``."""
    videos = torch.stack(list((propagation or Propagation()).videos(keyframes, motions, CPU)))
    return videos[:, 0], videos[:, 1], videos[:, 2]


# ---------------------------------------------------------------------- warp


@pytest.mark.parametrize("cached", [True, False])
def test_zero_flow_changes_nothing(cached: bool) -> None:
    """Catches grids that are off by half a pixel (corners aligned on one side only)."""
    image = _clip(1, 23, 31)
    warped = flow_warp(image, _flow(0, 0, 23, 31), padding="zeros", cached=cached)
    torch.testing.assert_close(warped, image, rtol=0, atol=1e-5)


def test_whole_pixels_are_slices_and_zeros_come_in() -> None:
    """Catches the wrong sign or axis of flow, and edges repeated where equation 3 wants zeros."""
    image = _clip(1)
    warped = flow_warp(image, _flow(3, -2), padding="zeros")
    assert torch.equal(warped[..., 2:, :-3], image[..., :-2, 3:])
    assert not warped[..., -3:].any()
    assert not warped[..., :2, :].any()


def test_there_and_back_is_the_identity_inside() -> None:
    """Catches flow that is normalised by the wrong side."""
    image = _clip(1)
    back = flow_warp(flow_warp(image, _flow(5, 2), padding="zeros"), _flow(-5, -2), padding="zeros")
    assert torch.equal(back[..., 2:, 5:], image[..., 2:, 5:])


# ---------------------------------------------------------------------- mask


@pytest.mark.parametrize(("dx", "dy"), [(3, 0), (-3, 0), (0, 3), (0, -3), (3, -2)])
def test_a_shift_is_valid_except_where_it_leaves_the_frame(dx: int, dy: int) -> None:
    """Catches the edge repeated in the warp of the backward flow (all would be valid), and a border test off by one.

    At 3 px exactly 3 columns are invalid.
    """
    expected = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    expected[:, WIDTH - dx :] &= dx <= 0
    expected[:, : max(-dx, 0)] = False
    expected[HEIGHT - dy :] &= dy <= 0
    expected[: max(-dy, 0)] = False
    assert torch.equal(valid(_flow(dx, dy), _flow(-dx, -dy))[0, 0], expected)
    assert int((~expected).all(0).sum()) == abs(dx)


def test_3_pixels_invalidate_3_columns_at_a_size_that_rounds() -> None:
    """The same where positions are rounded: catches masks that lose the last column to rounding."""
    mask = valid(_flow(3, 0, 37, 53), _flow(-3, 0, 37, 53))[0, 0]
    assert mask.all(0).tolist() == [True] * 50 + [False] * 3


def test_flows_that_do_not_return_are_invalid() -> None:
    """Catches w_f - w_b in place of w_f + w_b."""
    assert not valid(_flow(3), _flow(3)).any()


@pytest.mark.parametrize("alpha", [(0.01, 0.5), (0.2, 0.1)])
def test_the_threshold_is_where_the_formula_puts_it(alpha: tuple[float, float]) -> None:
    """Catches lengths in place of squares, one flow left out of the size, or α1 and α2 exchanged."""
    motion = 3.0

    def excess(error: float) -> float:
        return error**2 - alpha[0] * (motion**2 + (motion - error) ** 2) - alpha[1]

    low, high = 0.0, motion
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if excess(middle) > 0 else (middle, high)
    inner = (..., slice(None, -3))
    assert valid(_flow(motion), _flow(low * 0.999 - motion), alpha)[inner].all()
    assert not valid(_flow(motion), _flow(low * 1.001 - motion), alpha)[inner].any()


def test_equality_is_invalid() -> None:
    """Catches <= in place of <."""
    assert not valid(_flow(0), _flow(0.5), (0.0, 0.25)).any()
    assert valid(_flow(0), _flow(0.5), (0.0, 0.2501)).all()


def test_the_backward_flow_is_read_where_the_forward_flow_leads() -> None:
    """Catches a check of the two flows at the same pixel."""
    ahead, behind = _flow(0), _flow(0)
    ahead[..., 4:8, 4:8] = torch.tensor([6.0, 0.0]).view(1, 2, 1, 1)  # a square moves right …
    behind[..., 4:8, 10:14] = torch.tensor([-6.0, 0.0]).view(1, 2, 1, 1)
    expected = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    expected[4:8, 10:14] = False  # … and covers this ground
    assert torch.equal(valid(ahead, behind)[0, 0], expected)


# ---------------------------------------------------------------------- recurrences


def test_nothing_valid_leaves_the_input() -> None:
    """Catches masks that are used the other way round."""
    keyframes = _clip()
    for video in _videos(keyframes, _motions(4, 3, seen=False)):
        assert torch.equal(video, keyframes)


@pytest.mark.parametrize("seen", [True, None])
def test_a_static_camera_brings_the_last_frame_back_and_the_first_one_on(seen: bool | None) -> None:
    """Catches directions exchanged, and content averaged where equation 3 copies it; with given and own masks."""
    keyframes = _clip()
    source, ahead, back = _videos(keyframes, _motions(4, 0, seen=seen))
    assert torch.equal(source, keyframes)
    assert torch.equal(back, keyframes[-1:].expand_as(keyframes))
    assert torch.equal(ahead, keyframes[:1].expand_as(keyframes))


def test_time_reversal_exchanges_the_videos() -> None:
    """Catches a flow or mask of the wrong direction in one of the passes."""
    keyframes = _clip()
    generator = torch.Generator().manual_seed(8)
    motions = [
        KeyMotion(*(2 * torch.randn(1, 2, HEIGHT, WIDTH, generator=generator) for _ in range(2))) for _ in range(3)
    ]
    turned = [KeyMotion(m.behind, m.ahead) for m in reversed(motions)]
    _, ahead, back = _videos(keyframes, motions)
    _, turned_ahead, turned_back = _videos(keyframes.flip(0), turned)
    assert torch.equal(turned_ahead.flip(0), back)
    assert torch.equal(turned_back.flip(0), ahead)
    assert not torch.equal(ahead, back)


def test_given_masks_are_used_in_their_own_direction() -> None:
    """Catches visibility of the one keyframe applied to the other."""
    keyframes = _clip(2)
    left = torch.arange(WIDTH).expand(1, 1, HEIGHT, WIDTH) < 8
    top = torch.arange(HEIGHT)[:, None].expand(1, 1, HEIGHT, WIDTH) < 4
    _, ahead, back = _videos(keyframes, [KeyMotion(_flow(0), _flow(0), left, top)])
    assert torch.equal(back[0], torch.where(left[0], keyframes[1], keyframes[0]))
    assert torch.equal(ahead[1], torch.where(top[0], keyframes[0], keyframes[1]))


@pytest.mark.parametrize("marked", range(4))
def test_a_mark_travels_downstream_only_and_with_the_motion(marked: int) -> None:
    """Catches the wrong flow (mark moved the other way), and a pass that reads what is not yet known.

    The scene moves right by 2 px per keyframe; the mark is a surface that only one keyframe shows.
    """
    count, dx = 4, 2
    plain = torch.full((count, 3, HEIGHT, WIDTH), 0.25)
    keyframes = plain.clone()
    keyframes[marked, :, 6:8, 14:16] = 1.0
    motions = _motions(count, dx)
    for i in range(count - 1):
        new = torch.ones(1, 1, HEIGHT, WIDTH, dtype=torch.bool)
        new[..., 6:8, 14:16] = False  # its pixels have no partner elsewhere, so the keyframe keeps its own
        seen = (new if marked == i else None, new if marked == i + 1 else None)
        motions[i] = motions[i]._replace(seen_ahead=seen[0], seen_behind=seen[1])
    _, ahead, back = _videos(keyframes, motions)
    for i in range(count):
        there = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
        there[6:8, 14 + dx * (i - marked) : 16 + dx * (i - marked)] = True
        none = torch.zeros_like(there)
        assert torch.equal(ahead[i, 0] == 1, there if i >= marked else none)
        assert torch.equal(back[i, 0] == 1, there if i <= marked else none)


def test_what_a_mask_lets_in_from_outside_the_frame_is_black() -> None:
    """Catches edges repeated in the recurrence, where equation 3 pads with zeros (equation 4 repeats edges)."""
    keyframes = _clip(2) * 0.5 + 0.5
    _, ahead, back = _videos(keyframes, _motions(2, 2, seen=True))
    assert torch.equal(back[0, :, :, :-2], keyframes[1, :, :, 2:])
    assert not back[0, :, :, -2:].any()
    assert torch.equal(ahead[1, :, :, 2:], keyframes[0, :, :, :-2])
    assert not ahead[1, :, :, :2].any()


def test_one_keyframe_is_all_three_videos() -> None:
    """Catches recurrences that need a neighbour."""
    keyframes = _clip(1)
    for video in _videos(keyframes, []):
        assert torch.equal(video, keyframes)


def test_fuse_takes_the_mean_where_content_is_valid() -> None:
    """Catches the switch ignored, or the mean taken of what is not valid."""
    keyframes = _clip(2)
    _, ahead, back = _videos(keyframes, _motions(2, 0, seen=True), Propagation(mode="fuse"))
    torch.testing.assert_close(back[0], (keyframes[0] + keyframes[1]) / 2)
    torch.testing.assert_close(ahead[1], (keyframes[0] + keyframes[1]) / 2)
    _, ahead, back = _videos(keyframes, _motions(2, 0, seen=False), Propagation(mode="fuse"))
    assert torch.equal(back, keyframes)
    assert torch.equal(ahead, keyframes)


def test_a_chained_forward_pass_starts_from_the_backward_video() -> None:
    """Catches the switch ignored, and a forward pass that takes the backward video when it is off."""
    keyframes = _clip()
    _, ahead, back = _videos(keyframes, _motions(4, 0, seen=True), Propagation(chain=True))
    assert torch.equal(back, keyframes[-1:].expand_as(keyframes))
    assert torch.equal(ahead, back)


def test_the_plain_form_gives_the_same() -> None:
    """Catches forms that have come apart."""
    generator = torch.Generator().manual_seed(8)
    motions = [KeyMotion(*(torch.randn(1, 2, HEIGHT, WIDTH, generator=generator) for _ in range(2))) for _ in range(3)]
    for one, other in zip(
        _videos(_clip(), motions), _videos(_clip(), motions, Propagation(optimised=False)), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_a_generator_of_videos_leaves_the_gradient_mode_alone() -> None:
    """Catches gradients turned off for whoever consumes the videos (Ψ would never learn)."""
    for _ in Propagation().videos(_clip(), _motions(4), CPU):
        assert torch.is_grad_enabled()
