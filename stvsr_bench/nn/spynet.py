"""SPyNet: optical flow by a spatial pyramid of small convolutional networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stvsr_bench.nn.warp import flow_warp

LEVELS = 6
_MULTIPLE = 2 ** (LEVELS - 1)

Pyramid = list[Tensor]
"""Normalised images, coarsest first, ``(B, 3, H / 32, W / 32)`` to ``(B, 3, H, W)``."""


class _Level(nn.Module):
    """One level: from reference, warped support and upsampled flow (8 channels) to the flow that is missing."""

    def __init__(self, features: Sequence[int]) -> None:
        super().__init__()
        widths = (8, *features, 2)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 7, padding=3), nn.ReLU(inplace=True)]
        self.basic_module = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.basic_module(x)
        return out


class SPyNet(nn.Module):
    """Flow from a reference image to a support image: ``supp`` sampled at ``p + flow(p)`` resembles ``ref`` at ``p``.

    Flow is float32 whatever the dtype of the parameters; sides that are no multiple of 32 are resized to the next one.

    Source: Ranjan and Black, «Optical Flow Estimation using a Spatial Pyramid Network», CVPR 2017, in the form of
    BasicSR (``spynet_arch.py``, commit 8d56e3a) with its parameter names. It differs in that the coarsest level starts
    from a zero flow of its own size, so that sides of 32 and less work; larger ones give the same.

    Args:
        features: channels between the five convolutions of a level; other than the default only for toy networks.

    Attributes:
        cached: keep the sampling grids of the last frame sizes.
    """

    cached: bool = True

    mean: Tensor
    std: Tensor

    def __init__(self, features: Sequence[int] = (32, 64, 32, 16)) -> None:
        super().__init__()
        self.basic_module = nn.ModuleList(_Level(features) for _ in range(LEVELS))
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, ref: Tensor, supp: Tensor) -> Tensor:
        """Return the flow in pixels ``(B, 2, H, W)``, channel 0 horizontal, of images ``(B, 3, H, W)`` in [0, 1]."""
        return self.flow(self.pyramid(ref), self.pyramid(supp), (ref.shape[-2], ref.shape[-1]))

    def pyramid(self, images: Tensor) -> Pyramid:
        """Return the pyramid of images ``(B, 3, H, W)`` in [0, 1]; slices of its levels serve any pair of them."""
        height, width = (-(-side // _MULTIPLE) * _MULTIPLE for side in images.shape[-2:])
        if (height, width) != tuple(images.shape[-2:]):
            images = F.interpolate(images, (height, width), mode="bilinear", align_corners=False)
        levels = [(images - self.mean) / self.std]
        for _ in range(LEVELS - 1):
            levels.append(F.avg_pool2d(levels[-1], 2))
        return levels[::-1]

    def levels(self, ref: Pyramid, supp: Pyramid) -> Iterator[Tensor]:
        """Yield the float32 flow after each level, coarsest first, in pixels of that level."""
        batch, _, height, width = ref[0].shape
        flow = torch.zeros(batch, 2, height, width, device=ref[0].device)
        for number, (level, fixed, moving) in enumerate(zip(self.basic_module, ref, supp, strict=True)):
            if number > 0:
                flow = 2 * F.interpolate(flow, fixed.shape[-2:], mode="bilinear", align_corners=True)
            warped = flow_warp(moving, flow, padding="border", cached=self.cached)
            flow = flow + level(torch.cat([fixed, warped, flow.to(fixed.dtype)], 1)).float()
            yield flow

    def flow(self, ref: Pyramid, supp: Pyramid, size: tuple[int, int]) -> Tensor:
        """Return the flow at ``size`` (rows, columns) between two pyramids."""
        *_, flow = self.levels(ref, supp)
        height, width = flow.shape[-2:]
        if (height, width) == size:
            return flow
        flow = F.interpolate(flow, size, mode="bilinear", align_corners=False)
        return flow * flow.new_tensor([size[1] / width, size[0] / height]).view(1, 2, 1, 1)
