"""The network of BasicVSR: a recurrence over the clip in each direction, and a reconstruction that joins them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stvsr_bench.nn.residual import ResidualTrunk
from stvsr_bench.nn.spynet import SPyNet
from stvsr_bench.nn.warp import flow_warp

SCALE = 4


class BasicVSRNet(nn.Module):
    """Super-resolution ×4 of a whole clip.

    What the recurrence leaves free, the flows and the reconstruction, takes several frames at once; the two steps take
    one frame each. :meth:`forward` shows how they work together; long clips go through
    :class:`~stvsr_bench.methods.basicvsr.recurrence.Recurrence`, which holds only part of the features.

    Source: Chan, Wang, Yu, Dong and Loy, «BasicVSR: The Search for Essential Components in Video Super-Resolution and
    Beyond», CVPR 2021, with the layers and parameter names of BasicSR (``basicvsr_arch.py``, commit 8d56e3a).

    Args:
        features: channels of the two recurrences.
        blocks: residual blocks of each.
        flow_features: see :class:`~stvsr_bench.nn.spynet.SPyNet`.
        fine_features: channels at the output's size.
    """

    def __init__(
        self,
        features: int = 64,
        blocks: int = 30,
        flow_features: Sequence[int] = (32, 64, 32, 16),
        fine_features: int = 64,
    ) -> None:
        super().__init__()
        self.features = features
        self.spynet = SPyNet(flow_features)
        self.backward_trunk = ResidualTrunk(features + 3, features, blocks)
        self.forward_trunk = ResidualTrunk(features + 3, features, blocks)
        self.fusion = nn.Conv2d(features * 2, features, 1)
        self.upconv1 = nn.Conv2d(features, features * 4, 3, padding=1)
        self.upconv2 = nn.Conv2d(features, fine_features * 4, 3, padding=1)
        self.conv_hr = nn.Conv2d(fine_features, fine_features, 3, padding=1)
        self.conv_last = nn.Conv2d(fine_features, 3, 3, padding=1)

    def flows(self, frames: Tensor, *, ahead: bool) -> Tensor:
        """Return the float32 flow of neighbouring frames, ``(T, 3, h, w)`` to ``(T - 1, 2, h, w)`` pixels.

        Entry ``i`` leads from frame ``i`` to ``i + 1`` where ``ahead``, else from frame ``i + 1`` to ``i``.
        """
        levels = self.spynet.pyramid(frames)
        early, late = [level[:-1] for level in levels], [level[1:] for level in levels]
        size = (frames.shape[-2], frames.shape[-1])
        return self.spynet.flow(early, late, size) if ahead else self.spynet.flow(late, early, size)

    def step_back(self, frame: Tensor, state: Tensor | None, flow: Tensor | None) -> Tensor:
        """Return the backward features ``(1, F, h, w)`` of a frame from those of the next one (``None``: zeros)."""
        return self._step(self.backward_trunk, frame, state, flow)

    def step_forth(self, frame: Tensor, state: Tensor | None, flow: Tensor | None) -> Tensor:
        """Return the forward features ``(1, F, h, w)`` of a frame from those of the one before (``None``: zeros)."""
        return self._step(self.forward_trunk, frame, state, flow)

    def _step(self, trunk: ResidualTrunk, frame: Tensor, state: Tensor | None, flow: Tensor | None) -> Tensor:
        if state is None or flow is None:
            carried = frame.new_zeros(len(frame), self.features, *frame.shape[-2:])
        else:
            carried = flow_warp(state, flow, padding="zeros", cached=self.spynet.cached)
        out: Tensor = trunk(torch.cat([frame, carried], 1))
        return out

    def reconstruct(self, frames: Tensor, back: Tensor, forth: Tensor) -> Tensor:
        """Return output frames ``(T, 3, 4h, 4w)`` from frames ``(T, 3, h, w)`` and both features ``(T, F, h, w)``."""
        x = F.leaky_relu_(self.fusion(torch.cat([back, forth], 1)), 0.1)
        # the activation stands before the shuffle, where it works in place; elementwise, so the result is the same
        x = F.pixel_shuffle(F.leaky_relu_(self.upconv1(x), 0.1), 2)
        x = F.pixel_shuffle(F.leaky_relu_(self.upconv2(x), 0.1), 2)
        x = F.leaky_relu_(self.conv_hr(x), 0.1)
        base = F.interpolate(frames, scale_factor=SCALE, mode="bilinear", align_corners=False)
        out: Tensor = self.conv_last(x)
        return out.add_(base)

    def forward(self, frames: Tensor) -> Tensor:
        """Restore a clip ``(T, 3, h, w)`` in [0, 1] to ``(T, 3, 4h, 4w)`` at once; values may leave [0, 1]."""
        count = len(frames)
        ahead = self.flows(frames, ahead=True) if count > 1 else None
        behind = self.flows(frames, ahead=False) if count > 1 else None
        back: list[Tensor] = []
        state = None
        for i in reversed(range(count)):
            flow = None if ahead is None or i == count - 1 else ahead[i : i + 1]
            state = self.step_back(frames[i : i + 1], state, flow)
            back.insert(0, state)
        out: list[Tensor] = []
        state = None
        for i in range(count):
            flow = None if behind is None or i == 0 else behind[i - 1 : i]
            state = self.step_forth(frames[i : i + 1], state, flow)
            out.append(self.reconstruct(frames[i : i + 1], back[i], state))
        return torch.cat(out)
