"""Refinement of a flow-interpolated frame from context features of both sides: the second half of RIFE."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stvsr_bench.nn.ifnet import conv_prelu, deconv_prelu, resized
from stvsr_bench.nn.warp import flow_warp

Context = tuple[Sequence[Tensor], Sequence[Tensor]]
"""Context features of the first and of the second frame, as :class:`ContextNet` returns them."""


class DoubleConv(nn.Module):
    """Two 3×3 convolutions with PReLU, of which the first halves the size."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = conv_prelu(inputs, outputs, 2)
        self.conv2 = conv_prelu(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` to ``(B, outputs, H / 2, W / 2)``."""
        out: Tensor = self.conv2(self.conv1(x))
        return out


class ContextNet(nn.Module):
    """Features of one frame at 1/2, 1/4, 1/8 and 1/16 of its size; they depend on neither flow nor time.

    Args:
        width: channels at 1/2; each level has twice as many.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = DoubleConv(3, width)
        self.conv2 = DoubleConv(width, 2 * width)
        self.conv3 = DoubleConv(2 * width, 4 * width)
        self.conv4 = DoubleConv(4 * width, 8 * width)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the four levels for ``(B, 3, H, W)`` RGB in [0, 1], sides multiples of 16."""
        levels = [image.to(next(self.parameters()).dtype)]
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            levels.append(conv(levels[-1]))
        return levels[1:]


def warped_context(
    first: Sequence[Tensor], second: Sequence[Tensor], flow: Tensor, *, cached: bool = True
) -> tuple[list[Tensor], list[Tensor]]:
    """Warp the context features of both frames to the wanted time.

    Args:
        first: levels of the first frame, as :class:`ContextNet` returns them.
        second: likewise of the second.
        flow: ``(B, 4, H, W)`` pixels of the full size, channels 0:2 to the first frame, 2:4 to the second; it is halved
            in size and in value for each level.
        cached: as of :func:`~stvsr_bench.nn.warp.flow_warp`.
    """
    warped: tuple[list[Tensor], list[Tensor]] = ([], [])
    for one, two in zip(first, second, strict=True):
        flow = resized(flow, 0.5) * 0.5
        warped[0].append(flow_warp(one, flow[:, :2], cached=cached))
        warped[1].append(flow_warp(two, flow[:, 2:], cached=cached))
    return warped


class RefineNet(nn.Module):
    """A U-Net that predicts the residual of a blended frame.

    Source: the fusion network of RIFE (Huang and others, ECCV 2022).

    Args:
        width: as of the :class:`ContextNet` whose features it takes.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down0 = DoubleConv(17, 2 * width)
        self.down1 = DoubleConv(4 * width, 4 * width)
        self.down2 = DoubleConv(8 * width, 8 * width)
        self.down3 = DoubleConv(16 * width, 16 * width)
        self.up0 = deconv_prelu(32 * width, 8 * width)
        self.up1 = deconv_prelu(16 * width, 4 * width)
        self.up2 = deconv_prelu(8 * width, 2 * width)
        self.up3 = deconv_prelu(4 * width, width)
        self.conv = nn.Conv2d(width, 3, 3, 1, 1)

    def forward(self, stack: Tensor, first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
        """Return the residual ``(B, 3, H, W)`` in [-1, 1], float32.

        Args:
            stack: ``(B, 17, H, W)``: both images, both warped images, mask logit, flow.
            first: warped context features of the first image.
            second: likewise of the second.
        """
        s0 = self.down0(stack.to(self.conv.weight.dtype))
        s1 = self.down1(torch.cat([s0, first[0], second[0]], 1))
        s2 = self.down2(torch.cat([s1, first[1], second[1]], 1))
        s3 = self.down3(torch.cat([s2, first[2], second[2]], 1))
        x = self.up0(torch.cat([s3, first[3], second[3]], 1))
        x = self.up1(torch.cat([x, s2], 1))
        x = self.up2(torch.cat([x, s1], 1))
        x = self.up3(torch.cat([x, s0], 1))
        return torch.sigmoid(self.conv(x).float()) * 2 - 1


def residual(
    contextnet: ContextNet,
    unet: RefineNet,
    pair: Tensor,
    warped: Tensor,
    logit: Tensor,
    flow: Tensor,
    context: Context | None = None,
    *,
    cached: bool = True,
) -> Tensor:
    """Return what the refinement adds to the blend, ``(B, 3, H, W)`` in [-1, 1].

    Args:
        contextnet: makes the features of both frames.
        unet: predicts the residual from them.
        pair: ``(B, 6, H, W)`` both frames, RGB in [0, 1].
        warped: ``(B, 6, H, W)`` both frames, warped.
        logit: ``(B, 1, H, W)`` of the first frame's share.
        flow: ``(B, 4, H, W)`` pixels.
        context: features of both frames, where they are known already; one item serves the whole batch.
        cached: as of :func:`~stvsr_bench.nn.warp.flow_warp`.
    """
    first, second = context or (contextnet(pair[:, :3]), contextnet(pair[:, 3:]))
    first, second = ([level.expand(len(pair), -1, -1, -1) for level in side] for side in (first, second))
    features = warped_context(first, second, flow, cached=cached)
    out: Tensor = unet(torch.cat([pair, warped, logit, flow], 1), *features)
    return out
