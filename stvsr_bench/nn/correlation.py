"""Cost volume between two feature maps, as optical-flow networks match them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def correlation(first: Tensor, second: Tensor, radius: int = 4) -> Tensor:
    """Mean over channels of the products of ``first`` with ``second``, for every shift of up to ``radius`` pixels.

    Shapes: both ``(B, C, H, W)`` → ``(B, (2·radius + 1)², H, W)``; entry c belongs to the shift
    dx = c mod (2r + 1) - r, dy = c div (2r + 1) - r: ``first[:, :, y, x] · second[:, :, y + dy, x + dx]``. Outside the
    frame ``second`` is 0.

    Source: the correlation layer of Dosovitskiy et al. 2015, FlowNet (arXiv:1504.06852), with patches of one pixel, in
    the form that PWC-Net uses (arXiv:1709.02371, section 3).

    >>> a, b = torch.ones(1, 2, 1, 3), torch.tensor([1.0, 2.0, 3.0]).expand(1, 2, 1, 3)
    >>> correlation(a, b, radius=1)[0, 3:6, 0]  # the row of shifts with dy = 0
    tensor([[0., 1., 2.],
            [1., 2., 3.],
            [2., 3., 0.]])
    """
    height, width = first.shape[-2:]
    padded = F.pad(second, (radius,) * 4)
    side = 2 * radius + 1
    volume = first.new_empty(first.shape[0], side**2, height, width)
    products = torch.empty_like(first)
    for entry in range(side**2):
        dy, dx = divmod(entry, side)
        torch.mul(first, padded[:, :, dy : dy + height, dx : dx + width], out=products)
        torch.mean(products, 1, out=volume[:, entry])
    return volume
