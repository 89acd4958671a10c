"""Video Swin with GRPB against a plain reading of its definition: every token with every other, no windows cut."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from stvsr_bench.core.errors import WeightError
from stvsr_bench.nn.seeded import seed_parameters
from stvsr_bench.nn.swin3d import WINDOW, GatedWindowAttention, VideoSwin, WindowLayout
from stvsr_bench.weights.strict import load_strict

SIZES = [(8, 7, 7), (9, 14, 8), (5, 9, 8), (9, 3, 15), (3, 4, 5), (16, 7, 7)]
"""Whole windows, several, padded ones, and stages smaller than the window in some axes."""


def plain_bias(attention: GatedWindowAttention, size: tuple[int, int, int], shifted: bool) -> torch.Tensor:
    """The bias between any two tokens of the padded and rolled stage, -inf between windows."""
    window = np.minimum(size, WINDOW)
    shift = np.where(np.array(size) > WINDOW, np.array(WINDOW) // 2, 0) * shifted
    padded = -(-np.array(size) // window) * window
    rolled = np.indices(padded).reshape(3, -1).T  # (n, 3)
    places = (rolled + shift) % padded  # before the roll
    tables = [attention.relative_position_bias_table, attention.fragment_position_bias_table]

    # the number of a token in its own window stands for a place in the full window
    number = np.ravel_multi_index((rolled % window).T, window)
    full = np.stack(np.unravel_index(number, WINDOW), 1)
    apart = full[:, None] - full[None] + np.array(WINDOW) - 1
    entry = torch.from_numpy(np.ravel_multi_index(apart.transpose(2, 0, 1), 2 * np.array(WINDOW) - 1))
    relative, fragment = (None if table is None else table.double()[entry].permute(2, 0, 1) for table in tables)
    assert relative is not None
    bias = relative
    if fragment is not None:
        cell = places * window // padded
        gate = torch.from_numpy(np.abs(cell[:, None] - cell[None])[..., 1:].sum(-1)).double()
        bias = relative * gate + fragment * (1 - gate)

    region = places < rolled  # what came round from the other end
    strangers = torch.from_numpy((region[:, None] != region[None]).any(-1))
    others = torch.from_numpy((rolled[:, None] // window != rolled[None] // window).any(-1))
    return (bias - 100 * strangers).masked_fill(others, -torch.inf)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("shifted", [False, True], ids=["plain", "shifted"])
@pytest.mark.parametrize("gated", [False, True], ids=["ungated", "gated"])
@torch.inference_mode()
def test_window_attention(size: tuple[int, int, int], shifted: bool, gated: bool) -> None:
    attention = GatedWindowAttention(6, 2, gated=gated)
    seed_parameters(attention, "attention")
    layout = WindowLayout.of(size, shifted=shifted, device=torch.device("cpu"))
    tokens = torch.randn(2, *layout.padded, 6, generator=torch.Generator().manual_seed(1))
    rolled = tokens.roll([-s for s in layout.shift], (1, 2, 3))
    found = layout.join(attention(layout.cut(rolled), layout), 2)

    q, k, v = attention.qkv(rolled.reshape(2, -1, 6)).double().reshape(2, -1, 3, 2, 3).permute(2, 0, 3, 1, 4)
    mixed = ((q * 3**-0.5) @ k.transpose(-1, -2) + plain_bias(attention, size, shifted)).softmax(-1) @ v
    expected = attention.proj(mixed.transpose(1, 2).reshape(2, -1, 6).float()).reshape(found.shape)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_gates_beyond_one_are_kept() -> None:
    layout = WindowLayout.of((16, 56, 56), shifted=True, device=torch.device("cpu"))
    assert layout.gate.max() == 12  # windows that a shift has put together hold opposite corners
    assert layout.gate.shape == (64, 49, 49)
    assert layout.shift == (4, 3, 3)
    last = WindowLayout.of((16, 7, 7), shifted=True, device=torch.device("cpu"))
    assert last.shift == (4, 0, 0)


@pytest.mark.parametrize("size", [(1, 4, 4), (2, 32, 32), (5, 37, 50), (32, 64, 33)], ids=str)
@torch.inference_mode()
def test_any_size_gives_features(size: tuple[int, int, int]) -> None:
    network = VideoSwin(4, (2, 2, 2, 2), (1, 1, 2, 2)).eval()
    seed_parameters(network, "swin")
    clip = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(2))
    features = network(clip)
    grid = [-(-size[0] // 2), -(-size[1] // 4), -(-size[2] // 4)]
    for _ in range(3):
        grid = [grid[0], -(-grid[1] // 2), -(-grid[2] // 2)]
    assert list(features.shape) == [2, 32, *grid]
    torch.testing.assert_close(features[1:], network(clip[1:]), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_merging_takes_neighbours_row_first_and_fills_odd_sides() -> None:
    network = VideoSwin(4, (1, 1), (1, 1))
    merging = network.layers[0].downsample
    seed_parameters(merging, "merging")
    x = torch.randn(1, 2, 3, 5, 4, generator=torch.Generator().manual_seed(3))
    found = merging(x)
    assert found.shape == (1, 2, 2, 3, 8)
    zero = torch.zeros(4)
    for t, i, j in itertools.product(range(2), range(2), range(3)):
        four = [
            x[0, t, 2 * i + r, 2 * j + c] if 2 * i + r < 3 and 2 * j + c < 5 else zero
            for r, c in ((0, 0), (1, 0), (0, 1), (1, 1))
        ]
        torch.testing.assert_close(found[0, t, i, j], merging.reduction(merging.norm(torch.cat(four))))


def test_only_its_own_parameters_are_loaded() -> None:
    network = VideoSwin(4, (1, 1), (1, 1))
    tensors = dict(network.state_dict())
    del tensors["layers.0.blocks.0.attn.fragment_position_bias_table"]
    tensors["layers.1.blocks.0.attn.fragment_position_bias_table"] = torch.zeros(2535, 1)  # the last stage has none
    with pytest.raises(WeightError, match=r"1 missing: layers\.0.*fragment.*1 unexpected: layers\.1.*fragment"):
        load_strict(network, tensors)
