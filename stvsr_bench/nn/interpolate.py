"""A frame between two frames, from the optical flow of both directions."""

from __future__ import annotations

import torch
from torch import Tensor

from stvsr_bench.nn.consistency import consistent
from stvsr_bench.nn.splat import forward_splat
from stvsr_bench.nn.warp import backward_warp

_COLOUR_FALLOFF = 5.0  # per unit of mean colour difference: how fast a badly matched pixel loses against others
_LEAST_WEIGHT = 1e-3  # keeps pixels without a match, which still are the best guess where nothing else arrives
_ARRIVED = 1e-2  # arrived weight from which a place counts as reached
_AGREE = 3.0  # pixels by which the motions seen from the two sides may differ and still be one motion
_CLEARER = 0.1  # share of visible pixels by which one side must lead to win where the motions differ
_UNREACHED = 0.05  # weight of a side of which nothing arrived


class FlowPair:
    """Two frames and the flow between them, ready to be interpolated at any time between.

    Each frame's motion is carried forward to the wanted time; where several pixels arrive, those that match in colour
    count more. Places that both sides reach with one motion take its mean. Where the motions differ, one surface
    covers another: the side whose motion survives the forward-backward check wins, else each side keeps its own. Places
    that one side alone reaches are taken from that side: the other frame does not see them. Both frames are then
    sampled (bicubic) along the motion and mixed by time.

    Source: the scheme of Baker, Scharstein, Lewis, Roth, Black and Szeliski, «A Database and Evaluation Methodology
    for Optical Flow», IJCV 2011, section 3.3.2; here with flow from both sides, soft instead of nearest-pixel
    splatting, and bicubic sampling.

    Args:
        first: ``(1, 3, H, W)`` float RGB in [0, 1].
        second: likewise.
        forward: ``(1, 2, H, W)`` flow in pixels from ``first`` to ``second``.
        backward: likewise from ``second`` to ``first``.
    """

    def __init__(self, first: Tensor, second: Tensor, forward: Tensor, backward: Tensor) -> None:
        self.first, self.second = first, second
        self.forward, self.backward = forward, backward
        # of each side: motion from first to second and visibility in the other frame (1, 3, H, W), weight (1, 1, H, W)
        self._early = torch.cat([forward, consistent(forward, backward).float()], 1), _match(first, second, forward)
        self._late = torch.cat([-backward, consistent(backward, forward).float()], 1), _match(second, first, backward)

    def at(self, time: float) -> Tensor:
        """Return the frame at ``time`` in (0, 1), ``(1, 3, H, W)``; values may leave [0, 1] a little."""
        (early, seen_early), reached_early = _carried(*self._early, self.forward * time)
        (late, seen_late), reached_late = _carried(*self._late, self.backward * (1 - time))
        share = torch.stack([reached_early * (1 - time), reached_late * time])
        mean = (share[0] * early + share[1] * late) / share.sum(0).clamp(min=1e-6)

        from_early, from_late = reached_early > _ARRIVED, reached_late > _ARRIVED
        both = from_early & from_late
        one = both & ((early - late).square().sum(0, keepdim=True) < _AGREE**2)
        neither = self.forward[0] * (1 - time) - self.backward[0] * time
        use_late = ~from_early | (both & ~one & (seen_late - seen_early > _CLEARER))
        use_early = ~from_late | (both & ~one & (seen_early - seen_late > _CLEARER))
        motion_first = torch.where(use_late, late, early)
        motion_second = torch.where(use_early, early, late)
        unreached = ~from_early & ~from_late
        motion_first, motion_second = (
            torch.where(unreached, neither, torch.where(one, mean, m)) for m in (motion_first, motion_second)
        )

        start = backward_warp(self.first, -time * motion_first[None], mode="bicubic")
        end = backward_warp(self.second, (1 - time) * motion_second[None], mode="bicubic")
        weight_start = (1 - time) * (from_early.float() + _UNREACHED)
        weight_end = time * (from_late.float() + _UNREACHED)
        return (weight_start * start + weight_end * end) / (weight_start + weight_end)


def _match(here: Tensor, there: Tensor, flow: Tensor) -> Tensor:
    """Weight ``(1, 1, H, W)`` of each pixel: how well its colour is found again where its flow leads."""
    difference = (here - backward_warp(there, flow)).abs().mean(1, keepdim=True)
    return torch.exp(-_COLOUR_FALLOFF * difference) + _LEAST_WEIGHT


def _carried(values: Tensor, weight: Tensor, shift: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Motion ``(2, H, W)`` and visibility ``(1, H, W)`` of one side, moved by ``shift``, and the arrived weight."""
    mean, arrived = forward_splat(values[0], shift[0], weight[0])
    return (mean[:2], mean[2:]), arrived
