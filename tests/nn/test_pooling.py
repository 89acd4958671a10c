"""L2 pooling and blur pooling against plain convolutions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stvsr_bench.nn.blur_pool import BlurPool
from stvsr_bench.nn.l2_pool import L2Pool

KERNEL = torch.outer(torch.tensor([1.0, 2.0, 1.0]), torch.tensor([1.0, 2.0, 1.0])) / 16


@pytest.mark.parametrize("block", [1, 100, 1 << 18])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 5), (5, 2), (7, 9), (16, 16), (33, 40)])
def test_l2_pooling(size: tuple[int, int], block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stvsr_bench.nn.l2_pool._BLOCK", block)
    x = torch.randn(2, 3, *size)
    hann = torch.hann_window(5, periodic=False)[1:-1].double()
    kernel = torch.outer(hann, hann)
    kernel = (kernel / kernel.sum()).expand(3, 1, 3, 3)
    wanted = (nn.functional.conv2d(x.double().square(), kernel, stride=2, padding=1, groups=3) + 1e-12).sqrt()
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        assert torch.allclose(L2Pool(3)(given).double(), wanted, rtol=1e-6, atol=1e-7)
    assert torch.equal(L2Pool(3)(torch.zeros(1, 3, *size)), torch.full((1, 3, *wanted.shape[2:]), 1e-6))


def test_blur_pooling_by_hand() -> None:
    """2 1 | 0 1 2 3 4 5 | 4 3 filtered around the second, fourth, sixth and eighth sample."""
    x = torch.arange(6.0).view(1, 1, 1, 6).expand(1, 1, 6, 6)
    assert BlurPool(1)(x)[0, 0, 2].tolist() == [1.0, 1.0, 3.0, 4.5]


@pytest.mark.parametrize("size", [(3, 3), (4, 7), (8, 6)])
def test_blur_pooling(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size)
    index = [torch.tensor([2, 1, *range(n), n - 2, n - 3]) for n in size]  # mirrored without repeating the edge
    padded = x[:, :, index[0]][:, :, :, index[1]]
    wanted = nn.functional.conv2d(padded, KERNEL.expand(3, 1, 3, 3), stride=2, groups=3)
    found = BlurPool(3)(x)
    assert torch.allclose(found, wanted, atol=1e-6)
    assert tuple(found.shape[2:]) == tuple((n + 1) // 2 + 1 for n in size)
