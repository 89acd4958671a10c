"""What each keyframe looks like from the others: both recurrences of DiffST's equation 3 and their validity mask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from stvsr_bench.methods.diffst.flow import KeyMotion
from stvsr_bench.nn.consistency import cycle_terms
from stvsr_bench.nn.warp import flow_warp

PropagationMode = Literal["copy", "fuse"]
_Step = tuple[Tensor, Tensor]


def valid(flow: Tensor, back: Tensor, alpha: tuple[float, float] = (0.01, 0.5)) -> Tensor:
    """Say where content may be brought along ``flow``, ``(B, 1, h, w)`` bool: M of section 3.1.

    True where |w_f + w̃_b|² < α1·(|w_f|² + |w̃_b|²) + α2 with w̃_b the backward flow brought along the forward one, zero
    outside the frame. A pixel that leaves the frame therefore fails by its own motion, unless it moves by less than
    √(α2 / (1 - α1)), 0.71 px with the constants below: there is no separate test for the frame's border.

    Source: the rule of UnFlow (Meister, Hur and Roth, AAAI 2018) with its constants, as ProPainter and DOVE use it.
    :func:`~stvsr_bench.nn.consistency.consistent` differs: edge instead of zeros, ``<=``, and a test for the border.

    Args:
        flow: ``(B, 2, h, w)`` pixels from this keyframe to the other.
        back: likewise from the other to this one.
        alpha: α1 (no unit) and α2 (square pixels).
    """
    squared, size = cycle_terms(flow, back, padding="zeros")
    return squared < alpha[0] * size + alpha[1]


@dataclass(frozen=True)
class Propagation:
    """Carries content from keyframe to keyframe, backwards and forwards in time.

    Backward video: I_b is the last keyframe, and going down I_b^j = M·W(I_b^(j+1), F^(j→j+1)) + (1 - M)·I_l^j. The
    forward video is the same with time reversed. W is a backward warp, bilinear, with zeros outside the frame.

    Source: DiffST (arXiv 2605.13182), equation 3.

    Attributes:
        mode: ``copy`` takes the carried content where it is valid (the paper); ``fuse`` its mean with the keyframe's.
        chain: the forward pass starts from the backward video instead of the input (ProPainter's way).
        alpha: constants of :func:`valid`.
        optimised: keep warping grids between calls; ``False`` is the plain form.
    """

    mode: PropagationMode = "copy"
    chain: bool = False
    alpha: tuple[float, float] = (0.01, 0.5)
    optimised: bool = True

    def backward(self, keyframes: Tensor, motions: Sequence[KeyMotion], device: torch.device) -> Iterator[Tensor]:
        """Yield I_b ``(1, 3, h, w)`` of each keyframe, from the last to the first, on ``device``.

        Args:
            keyframes: ``(n, 3, h, w)`` float32 RGB in [0, 1].
            motions: of the ``n - 1`` neighbouring pairs.
            device: where to compute.
        """
        frames = (keyframes[i : i + 1].to(device) for i in reversed(range(len(keyframes))))
        moving = (motion.to(device) for motion in reversed(motions))
        steps = ((m.ahead, self._mask(m.ahead, m.behind, m.seen_ahead)) for m in moving)
        return self._carried(frames, steps)

    def forward(
        self, keyframes: Iterable[Tensor], motions: Sequence[KeyMotion], device: torch.device
    ) -> Iterator[Tensor]:
        """Yield I_f ``(1, 3, h, w)`` of each keyframe, from the first to the last, on ``device``.

        Args:
            keyframes: ``(1, 3, h, w)`` each; those of the backward video where the passes are chained.
            motions: as for :meth:`backward`.
            device: where to compute.
        """
        moving = (motion.to(device) for motion in motions)
        steps = ((m.behind, self._mask(m.behind, m.ahead, m.seen_behind)) for m in moving)
        return self._carried((frame.to(device) for frame in keyframes), steps)

    @torch.no_grad()
    def videos(self, keyframes: Tensor, motions: Sequence[KeyMotion], device: torch.device) -> Iterator[Tensor]:
        """Yield, for each keyframe in order, ``(3, 3, h, w)`` on ``device``: the keyframe, I_f and I_b.

        The backward video waits on the device of ``keyframes``.
        """
        back = [frame.to(keyframes.device) for frame in self.backward(keyframes, motions, device)][::-1]
        source = back if self.chain else torch.split(keyframes, 1)
        for i, ahead in enumerate(self.forward(source, motions, device)):
            yield torch.cat([keyframes[i : i + 1].to(device), ahead, back[i].to(device)])

    def _mask(self, flow: Tensor, back: Tensor, seen: Tensor | None) -> Tensor:
        return valid(flow, back, self.alpha) if seen is None else seen

    def _carried(self, frames: Iterable[Tensor], steps: Iterable[_Step]) -> Iterator[Tensor]:
        """Yield the first frame, then each next one with what the one before it brings along."""
        remaining = iter(frames)
        state = next(remaining)
        yield state
        for frame, (flow, mask) in zip(remaining, steps, strict=True):
            brought = flow_warp(state, flow, padding="zeros", cached=self.optimised)
            if self.mode == "fuse":
                brought = (brought + frame) / 2
            state = torch.where(mask, brought, frame)
            yield state
