"""The network of RIFE 4.0: four flow blocks from coarse to fine, any time, and the refinement of the same file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stvsr_bench.nn.flow_refine import Context, ContextNet, RefineNet, residual
from stvsr_bench.nn.ifnet import IFBlock, warp_pair

SCALES = (8.0, 4.0, 2.0, 1.0)
FAST = 32.0
"""Pixels of correction on both sides at the second block, above which a pair is started again at doubled scales."""


class State(NamedTuple):
    """What the blocks have found so far, for a batch of wanted frames.

    Attributes:
        pair: ``(B, 6, H, W)`` both frames, RGB in [0, 1].
        time: ``(B, 1, H, W)`` the wanted time on every pixel.
        flow: ``(B, 4, H, W)`` pixels; channels 0:2 lead to the first frame, 2:4 to the second.
        logit: ``(B, 1, H, W)`` of the first frame's share.
        warped: ``(B, 6, H, W)`` both frames, warped.
    """

    pair: Tensor
    time: Tensor
    flow: Tensor
    logit: Tensor
    warped: Tensor

    def take(self, items: Tensor | slice) -> State:
        """The same of some items of the batch."""
        return State(*(part[items] for part in self))


class Group(NamedTuple):
    """Items of a batch that run at the same scales."""

    items: Tensor | slice
    scales: Sequence[float]


class Interpolated(NamedTuple):
    """What the network finds; everything at the size of the input.

    Attributes:
        output: ``(B, 3, H, W)`` the wanted frame; in [0, 1] where it is refined, else up to rounding.
        flow: ``(B, 4, H, W)`` pixels, as in :class:`State`.
        logit: ``(B, 1, H, W)``.
        doubled: ``(B,)`` bool: which items were started again at doubled scales.
    """

    output: Tensor
    flow: Tensor
    logit: Tensor
    doubled: Tensor


class Rife4(nn.Module):
    """RIFE 4.0 (Practical-RIFE), with the key names of its checkpoint.

    The doubling of scales under fast motion is decided for each item of the batch, so that a result does not depend on
    what else is in the batch; upstream decides it once for the whole batch.

    Source: Huang, Zhang, Heng, Shi and Zhou, «Real-Time Intermediate Flow Estimation for Video Frame Interpolation»,
    ECCV 2022, as its engineering release 4.0 changed it.

    Args:
        widths: of the four blocks.
        refine_width: of the refinement.
        optimised: work on both frames at once and keep warping grids; ``False`` is the plain form.
    """

    def __init__(
        self, widths: Sequence[int] = (192, 128, 96, 64), refine_width: int = 16, *, optimised: bool = True
    ) -> None:
        super().__init__()
        self.block0 = IFBlock(7, widths[0])
        self.block1 = IFBlock(12, widths[1])
        self.block2 = IFBlock(12, widths[2])
        self.block3 = IFBlock(12, widths[3])
        self.contextnet = ContextNet(refine_width)
        self.unet = RefineNet(refine_width)
        self.optimised = optimised

    def forward(
        self,
        pair: Tensor,
        time: Tensor,
        *,
        flow_scale: float = 1.0,
        ensemble: bool = False,
        refine: bool = True,
        context: Context | None = None,
        history: list[tuple[Tensor, Tensor]] | None = None,
    ) -> Interpolated:
        """Return the frame of each pair at its time.

        Args:
            pair: ``(B, 6, H, W)`` float32, the two frames as RGB in [0, 1]; sides are multiples of ``64 / flow_scale``.
            time: ``(B,)`` between 0 (the first frame) and 1.
            flow_scale: divides the blocks' scales: 0.5 sees motion at half, 2 at double the resolution.
            ensemble: call each block in both directions of time and take the mean.
            refine: add the residual of the refinement.
            context: context features of both frames, where they are known already; one item serves the whole batch.
            history: gets flow and logit after each block.
        """
        scales = [scale / flow_scale for scale in SCALES]
        plane = time.to(pair.dtype).view(-1, 1, 1, 1).expand(-1, 1, *pair.shape[-2:])
        state = self._start(pair, plane, scales, ensemble)
        trace = [(state.flow, state.logit)]

        correction = self._forward(1, state, scales)
        fast = (correction[:, :2].abs().amax((1, 2, 3)) > FAST) & (correction[:, 2:4].abs().amax((1, 2, 3)) > FAST)
        groups = [Group(slice(None), scales)]
        if bool(fast.any()):
            doubled = Group(fast.nonzero()[:, 0], [2 * scale for scale in scales])
            again = self._start(pair[doubled.items], plane[doubled.items], doubled.scales, ensemble=False)
            correction[doubled.items] = self._forward(1, again, doubled.scales)
            state = State(pair, plane, *(part.clone() for part in state[2:]))
            for part, new in zip(state[2:], again[2:], strict=True):
                part[doubled.items] = new
            groups = [doubled] if bool(fast.all()) else [Group((~fast).nonzero()[:, 0], scales), doubled]
        for number in (1, 2, 3):
            if number > 1:
                correction = self._grouped(self._forward, number, state, groups)
            if ensemble:
                correction = (correction + self._grouped(self._backward, number, state, groups)) / 2
            flow, logit = state.flow + correction[:, :4], state.logit + correction[:, 4:]
            state = State(pair, plane, flow, logit, self._warp(pair, flow))
            trace.append((flow, logit))
        if history is not None:
            history.extend(trace)

        mask = torch.sigmoid(state.logit)
        output = state.warped[:, :3] * mask + state.warped[:, 3:] * (1 - mask)
        if refine:
            parts = state.pair, state.warped, state.logit, state.flow
            added = residual(self.contextnet, self.unet, *parts, context, cached=self.optimised)
            output = (output + added).clamp(0, 1)
        return Interpolated(output, state.flow, state.logit, fast)

    def _start(self, pair: Tensor, time: Tensor, scales: Sequence[float], ensemble: bool) -> State:
        """The first block, which sees the frames only."""
        found = self.block0(torch.cat([pair, time], 1), None, scales[0])
        if ensemble:
            other = self.block0(torch.cat([_swapped(pair), 1 - time], 1), None, scales[0])
            found = (found + _turned(other)) / 2
        flow, logit = found[:, :4], found[:, 4:]
        return State(pair, time, flow, logit, self._warp(pair, flow))

    def _forward(self, number: int, state: State, scales: Sequence[float]) -> Tensor:
        """Corrections ``(B, 5, H, W)`` of flow and logit by one block."""
        x = torch.cat([state.warped, state.time, state.logit], 1)
        block = (self.block1, self.block2, self.block3)[number - 1]
        out: Tensor = block(x, state.flow, scales[number])
        return out

    def _backward(self, number: int, state: State, scales: Sequence[float]) -> Tensor:
        """The same, found with the two frames in each other's place."""
        turned = State(state.pair, 1 - state.time, _swapped(state.flow), -state.logit, _swapped(state.warped))
        return _turned(self._forward(number, turned, scales))

    def _grouped(
        self, run: Callable[[int, State, Sequence[float]], Tensor], number: int, state: State, groups: Sequence[Group]
    ) -> Tensor:
        """Run one block on each group at its own scales."""
        if len(groups) == 1:
            return run(number, state, groups[0].scales)
        out = torch.cat([torch.empty_like(state.flow), torch.empty_like(state.logit)], 1)
        for items, scales in groups:
            out[items] = run(number, state.take(items), scales)
        return out

    def _warp(self, pair: Tensor, flow: Tensor) -> Tensor:
        """Both frames, each along its flow."""
        return warp_pair(pair, flow, together=self.optimised)


def _swapped(x: Tensor) -> Tensor:
    """The two halves of the channels in each other's place."""
    return torch.cat(x.chunk(2, 1)[::-1], 1)


def _turned(found: Tensor) -> Tensor:
    """What a block found with the frames swapped, in the order of the first direction: flows swapped, logit negated."""
    return torch.cat([_swapped(found[:, :4]), -found[:, 4:]], 1)
