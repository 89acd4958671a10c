"""A 3×3 convolution with a quarter of the multiplications, for trunks that run on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

TILE = 4
"""Side of the output tiles; each is made of 6×6 samples with 36 products for each pair of channels instead of 144."""
_SIDE = TILE + 2
_POINTS = _SIDE**2
_FEWEST_TILES = 64
"""Below, reading the larger weights costs more than the products that are saved."""
_FEWEST_PRODUCTS = 64 * 128
"""Input times output channels below which moving samples costs more than the products that are saved."""
_WORKSPACE = 1 << 21
"""Samples in each of the larger work arrays."""
_KERNEL = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)


class WinogradConv2d(nn.Conv2d):
    """A convolution of stride 1 with a 3×3 kernel and one zero at every side, by Winograd's minimal filtering.

    Only where it pays: float32 on a CPU without gradients, many channels, a map that is not tiny. Elsewhere it is
    ``torch.nn.Conv2d``, whose parameters it has. Results differ from that in the order of rounding: 2e-6 of the map's
    deviation, where torch's own differ from exact ones by 7e-7.

    Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (arXiv:1509.09308), F(4×4, 3×3).

    Args:
        inputs: channels in.
        outputs: channels out.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)
        self._transformed: tuple[object, torch.Tensor] | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve ``(N, C, H, W)``; where the algorithm is used the result lies in memory with channels last."""
        tiles = -(-x.shape[2] // TILE) * -(-x.shape[3] // TILE)
        if (
            x.device.type != "cpu"
            or x.dtype != torch.float32
            or torch.is_grad_enabled()
            or tiles < _FEWEST_TILES
            or self.in_channels * self.out_channels < _FEWEST_PRODUCTS
        ):
            return super().forward(x)
        weights = self._weights()
        images = [_convolve(image.permute(1, 2, 0).contiguous(), weights) for image in x]
        out = torch.stack(images) if len(images) > 1 else images[0][None]
        if self.bias is not None:
            out.add_(self.bias)
        return out.permute(0, 3, 1, 2)

    def _weights(self) -> torch.Tensor:
        """The transformed kernels ``(36, C, O)``, made again when the parameters were written to."""
        weight = self.weight
        state = (weight.data_ptr(), None if weight.is_inference() else weight._version)
        if self._transformed is None or self._transformed[0] != state:
            kernel = torch.tensor(_KERNEL, dtype=torch.float64)
            products = torch.einsum("ai,ocij,bj->abco", kernel, weight.detach().double(), kernel)
            self._transformed = state, products.reshape(_POINTS, *products.shape[2:]).float().contiguous()
        return self._transformed[1]


def _convolve(image: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Convolve ``(H, W, C)`` with transformed kernels ``(36, C, O)``; some rows of tiles at a time."""
    height, width, inputs = image.shape
    outputs = weights.shape[2]
    down, across = -(-height // TILE), -(-width // TILE)
    columns = across * TILE
    padded = image.new_zeros(down * TILE + 2, columns + 2, inputs)
    padded[1 : height + 1, 1 : width + 1] = image
    out = image.new_empty(down * TILE, columns, outputs)
    rows = min(down, max(1, _WORKSPACE // (across * _POINTS * max(inputs, outputs))))
    new, kernels = image.new_empty, weights.unbind(0)
    for start in range(0, down, rows):
        n = min(rows, down - start)
        if n != rows or not start:
            halves, half_work = new(_SIDE, n, columns + 2, inputs), new(2, n, columns + 2, inputs)
            tiles, tile_work = new(_SIDE, _SIDE, n, across, inputs), new(2, _SIDE, n, across, inputs)
            sums, sum_work = new(_SIDE, _SIDE, n, across, outputs), new(2, _SIDE, n, across, outputs)
            strips, strip_work = new(TILE, _SIDE, n, across, outputs), new(2, TILE, n, across, outputs)
        part = padded[start * TILE : (start + n) * TILE + 2]
        _transform([part[i : i + (n - 1) * TILE + 1 : TILE] for i in range(_SIDE)], halves.unbind(0), half_work)
        last = (across - 1) * TILE + 1
        _transform([halves[:, :, i : i + last : TILE] for i in range(_SIDE)], tiles.unbind(1), tile_work)
        pairs = zip(tiles.view(_POINTS, -1, inputs), kernels, sums.view(_POINTS, -1, outputs), strict=True)
        for samples, kernel, products in pairs:  # one by one: a batched product is slower for few channels
            torch.mm(samples, kernel, out=products)
        _collect(sums.unbind(0), strips.unbind(0), sum_work)
        block = out[start * TILE : (start + n) * TILE].view(n, TILE, across, TILE, outputs).permute(3, 1, 0, 2, 4)
        _collect(strips.unbind(1), block.unbind(0), strip_work)
    return out[:height, :width].contiguous()


def _transform(d: Sequence[torch.Tensor], out: Sequence[torch.Tensor], work: torch.Tensor) -> None:
    """The six sums of six neighbouring samples, along one axis."""
    a, b = work
    torch.add(d[4], d[2], alpha=-4, out=a)
    torch.add(d[3], d[1], alpha=-4, out=b)
    torch.add(a, b, out=out[1])
    torch.sub(a, b, out=out[2])
    torch.sub(d[4], d[2], out=a)
    torch.sub(d[3], d[1], out=b)
    torch.add(a, b, alpha=2, out=out[3])
    torch.sub(a, b, alpha=2, out=out[4])
    torch.sub(d[0], d[2], out=b)
    torch.add(a, b, alpha=4, out=out[0])
    torch.sub(d[5], d[3], out=a)
    torch.sub(d[1], d[3], out=b)
    torch.add(a, b, alpha=4, out=out[5])


def _collect(m: Sequence[torch.Tensor], out: Sequence[torch.Tensor], work: torch.Tensor) -> None:
    """The four output samples from six products, along one axis."""
    a, b = work
    torch.add(m[1], m[2], out=a)
    torch.add(m[3], m[4], out=b)
    torch.add(m[0], a, out=out[0]).add_(b)
    torch.add(a, b, alpha=4, out=out[2])
    torch.sub(m[1], m[2], out=a)
    torch.sub(m[3], m[4], out=b)
    torch.add(a, b, alpha=2, out=out[1])
    torch.add(m[5], a, out=out[3]).add_(b, alpha=8)
