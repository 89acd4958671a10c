"""IFNet and IFNet_m, the flow networks of the RIFE paper: three blocks from coarse to fine, and a refinement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stvsr_bench.nn.flow_refine import Context, ContextNet, RefineNet, residual
from stvsr_bench.nn.ifnet import IFBlock, warp_pair

SCALES = (4.0, 2.0, 1.0)
WIDTHS = (240, 150, 90, 90)
REFINE_WIDTH = 16


class Interpolated(NamedTuple):
    """What the network finds, or what it had found after one of its blocks; everything at the size of the input.

    Attributes:
        flow: ``(B, 4, H, W)`` pixels; channels 0:2 lead from the wanted frame to the first, 2:4 to the second.
        logit: ``(B, 1, H, W)`` of the first frame's share.
        mask: ``(B, 1, H, W)`` that share itself, in [0, 1].
        warped: ``(B, 6, H, W)`` both frames, each along its flow.
        blend: ``(B, 3, H, W)`` their mean, weighted by ``mask``; in [0, 1] up to rounding.
        output: ``(B, 3, H, W)`` the wanted frame: refined and in [0, 1], or ``blend`` where nothing is refined.
    """

    flow: Tensor
    logit: Tensor
    mask: Tensor
    warped: Tensor
    blend: Tensor
    output: Tensor


class IFNet(nn.Module):
    """The network of RIFE, with the key names of its checkpoints.

    IFNet finds the middle frame; IFNet_m (``timed``) is told the wanted time by one more channel that every block sees.
    Items of a batch do not depend on one another, and each has a time of its own.

    Source: Huang, Zhang, Heng, Shi and Zhou, «Real-Time Intermediate Flow Estimation for Video Frame Interpolation»,
    ECCV 2022, and its repository hzwer/ECCV2022-RIFE (commit 5d8adbd). Warping is the same map in pixel coordinates;
    upstream computes it in coordinates from -1 to 1 with corners aligned, which rounds differently.

    Args:
        widths: of the three blocks and of the one that only training uses, which may be left out.
        refine_width: of the refinement.
        timed: take the wanted time (IFNet_m).
        refine: build the refinement.
        teacher: build the block that only training uses, so that its parameters have a place; it is never run.
        optimised: work on both frames at once and keep warping grids; ``False`` is the plain form.
    """

    def __init__(
        self,
        widths: Sequence[int] = WIDTHS,
        refine_width: int = REFINE_WIDTH,
        *,
        timed: bool,
        refine: bool = True,
        teacher: bool = False,
        optimised: bool = True,
    ) -> None:
        super().__init__()
        first = 7 if timed else 6  # both frames and the time; later blocks also see warped frames, logit and flow
        self.block0 = IFBlock(first, widths[0])
        self.block1 = IFBlock(first + 11, widths[1])
        self.block2 = IFBlock(first + 11, widths[2])
        if teacher:
            self.block_tea = IFBlock(first + 14, widths[3])
        self.contextnet = ContextNet(refine_width) if refine else None
        self.unet = RefineNet(refine_width) if refine else None
        self.timed = timed
        self.optimised = optimised

    def forward(
        self,
        pair: Tensor,
        time: Tensor | None = None,
        *,
        flow_scale: float = 1.0,
        refine: bool = True,
        tta: bool = False,
        context: Context | None = None,
        history: list[Interpolated] | None = None,
    ) -> Interpolated:
        """Return the frame of each pair at its time.

        Args:
            pair: ``(B, 6, H, W)`` float32, the two frames as RGB in [0, 1]; sides are multiples of 16, and of
                ``16 / flow_scale``.
            time: ``(B,)`` between 0 (the first frame) and 1; ``None`` where the network is not ``timed``.
            flow_scale: divides the blocks' scales: 0.5 sees motion at half, 2 at double the resolution.
            refine: add the residual of the refinement, where the network has one.
            tta: take the mean of the output and of that for frames turned by 180 degrees, turned back.
            context: context features of both frames, where they are known already; one item serves the whole batch.
            history: gets what was found after each block.

        Raises:
            ValueError: the sides are no such multiples, or ``time`` does not fit the network.
        """
        multiple = int(max(16, 16 / flow_scale))
        if pair.shape[-2] % multiple or pair.shape[-1] % multiple:
            raise ValueError(f"sides {list(pair.shape[-2:])} are no multiples of {multiple}")
        if self.timed != (time is not None):
            raise ValueError("a timed network needs a time, and no other takes one")
        found = self._found(pair, time, flow_scale, history)
        if refine and self.contextnet is not None and self.unet is not None:
            added = residual(
                self.contextnet, self.unet, pair, found.warped, found.logit, found.flow, context, cached=self.optimised
            )
            found = found._replace(output=(found.blend + added).clamp(0, 1))
        if tta:
            turned = self(pair.flip(2, 3), time, flow_scale=flow_scale, refine=refine).output
            found = found._replace(output=(found.output + turned.flip(2, 3)) / 2)
        return found

    def _found(
        self, pair: Tensor, time: Tensor | None, flow_scale: float, history: list[Interpolated] | None
    ) -> Interpolated:
        """Flow and mask from coarse to fine, without refinement."""
        frames = pair
        if time is not None:
            plane = time.to(pair.dtype).view(-1, 1, 1, 1).expand(len(pair), 1, *pair.shape[-2:])
            frames = torch.cat([pair, plane], 1)
        found = self.block0(frames, None, SCALES[0] / flow_scale)
        flow, logit = found[:, :4], found[:, 4:]
        for block, scale in ((self.block1, SCALES[1]), (self.block2, SCALES[2])):
            warped = warp_pair(pair, flow, together=self.optimised)
            if history is not None:
                history.append(_blended(flow, logit, warped))
            found = block(torch.cat([frames, warped, logit], 1), flow, scale / flow_scale)
            flow, logit = flow + found[:, :4], logit + found[:, 4:]
        last = _blended(flow, logit, warp_pair(pair, flow, together=self.optimised))
        if history is not None:
            history.append(last)
        return last


def _blended(flow: Tensor, logit: Tensor, warped: Tensor) -> Interpolated:
    mask = torch.sigmoid(logit)
    blend = warped[:, :3] * mask + warped[:, 3:] * (1 - mask)
    return Interpolated(flow, logit, mask, warped, blend, blend)
