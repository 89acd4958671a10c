"""The flow blocks of the RIFE family: what IFNet, IFNet_m and model 4.0 build their networks from."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stvsr_bench.nn.warp import flow_warp


def conv_prelu(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3×3 convolution and PReLU with one slope per channel."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.PReLU(outputs))


def deconv_prelu(inputs: int, outputs: int) -> nn.Sequential:
    """4×4 transposed convolution that doubles the size, and PReLU with one slope per channel."""
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), nn.PReLU(outputs))


def resized(x: Tensor, factor: float) -> Tensor:
    """``x`` ``(B, C, H, W)`` resized bilinearly (pixel areas aligned, no antialiasing); factor 1 changes nothing."""
    if factor == 1:
        return x
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def warp_pair(pair: Tensor, flow: Tensor, *, together: bool = True) -> Tensor:
    """Both frames of ``pair`` ``(B, 6, H, W)``, each along its half of ``flow`` ``(B, 4, H, W)`` in pixels.

    Args:
        pair: the first frame's channels, then the second's.
        flow: channels 0:2 lead to the first frame, 2:4 to the second.
        together: warp both in one call and keep the grid; ``False`` is the plain form.
    """
    if not together:
        first, second = (
            flow_warp(pair[:, :3], flow[:, :2], cached=False),
            flow_warp(pair[:, 3:], flow[:, 2:], cached=False),
        )
        return torch.cat([first, second], 1)
    frames = pair.reshape(-1, 3, *pair.shape[2:])
    return flow_warp(frames, flow.reshape(-1, 2, *flow.shape[2:])).view(pair.shape)


class IFBlock(nn.Module):
    """Predicts flow and mask, or their corrections, at a reduced resolution.

    Convolutions run in the parameters' dtype; what comes in and goes out is float32, because flows reach hundreds of
    pixels, of which half precision keeps no fraction.

    Source: Huang, Zhang, Heng, Shi and Zhou, «Real-Time Intermediate Flow Estimation for Video Frame Interpolation»,
    ECCV 2022.

    Args:
        inputs: channels of ``x``, plus 4 where a flow is given.
        width: channels of the eight middle convolutions.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.conv0 = nn.Sequential(conv_prelu(inputs, width // 2, 2), conv_prelu(width // 2, width, 2))
        self.convblock = nn.Sequential(*(conv_prelu(width, width) for _ in range(8)))
        self.lastconv = nn.ConvTranspose2d(width, 5, 4, 2, 1)

    def forward(self, x: Tensor, flow: Tensor | None, scale: float) -> Tensor:
        """Return flow and mask logit at the size of ``x``.

        Args:
            x: ``(B, C, H, W)``; H and W are multiples of ``4·scale``.
            flow: ``(B, 4, H, W)`` in pixels of ``x``, or ``None`` for a first block.
            scale: the block works at ``1 / scale`` of the size.

        Returns:
            ``(B, 5, H, W)`` float32: flow in pixels of ``x``, then the logit.
        """
        small = resized(x, 1 / scale)
        if flow is not None:
            small = torch.cat([small, resized(flow, 1 / scale) * (1 / scale)], 1)
        features = self.conv0(small.to(self.lastconv.weight.dtype))
        features = self.convblock(features) + features
        out = self.lastconv(features).to(torch.float32, memory_format=torch.contiguous_format)
        out = resized(out, 2 * scale)
        out[:, :4] *= 2 * scale
        return out
