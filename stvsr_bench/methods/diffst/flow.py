"""Where DiffST's motion comes from: between keyframes (equation 3) and towards the frames between (equation 4).

Both are small protocols, so that a network, another network or exact motion can be plugged in.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stvsr_bench.nn.ifnet import resized
from stvsr_bench.nn.raft import MINIMUM, pad_to_eight, raft_flow

KEY_PIXELS = 1 << 18
"""LR pixels that a batch of keyframe pairs aims at."""


class KeyMotion(NamedTuple):
    """Motion between neighbouring keyframes m and m + 1.

    Attributes:
        ahead: ``(B, 2, h, w)`` pixels, F^(m→m+1), on the grid of m.
        behind: likewise F^(m+1→m), on the grid of m + 1.
        seen_ahead: ``(B, 1, h, w)`` bool, the pixels of m that m + 1 shows; ``None``: found by consistency.
        seen_behind: likewise the pixels of m + 1 that m shows.
    """

    ahead: Tensor
    behind: Tensor
    seen_ahead: Tensor | None = None
    seen_behind: Tensor | None = None

    def to(self, device: torch.device) -> KeyMotion:
        """The same on ``device``."""
        seen = (part if part is None else part.to(device) for part in self[2:])
        return KeyMotion(self.ahead.to(device), self.behind.to(device), *seen)

    def take(self, item: int) -> KeyMotion:
        """One pair of the batch, as a batch of one."""
        one = slice(item, item + 1)
        seen = (part if part is None else part[one] for part in self[2:])
        return KeyMotion(self.ahead[one], self.behind[one], *seen)


class MidMotion(NamedTuple):
    """Motion from wanted frames k to the keyframes on both sides of them.

    Attributes:
        to_first: ``(B, 2, h, w)`` pixels, F^(k→m).
        to_second: likewise F^(k→m+1).
        share: ``(B, 1, h, w)`` in [0, 1], S: how much of the first keyframe is taken.
    """

    to_first: Tensor
    to_second: Tensor
    share: Tensor


class KeyFlow(Protocol):
    """Flow between neighbouring keyframes."""

    def between(self, first: Tensor, second: Tensor, pairs: Sequence[int]) -> KeyMotion:
        """Return the motion of keyframes ``first`` and ``second``.

        Args:
            first: ``(B, 3, h, w)`` float32 RGB in [0, 1].
            second: likewise.
            pairs: ``B`` numbers m: ``first[i]`` is keyframe ``pairs[i]`` of the clip.
        """


class MidFlow(Protocol):
    """Flow from frames that do not exist yet."""

    def toward(self, first: Tensor, second: Tensor, times: Tensor, pair: int) -> MidMotion:
        """Return the motion of the frames at ``times`` between ``first`` and ``second``.

        Args:
            first: ``(B, 3, h, w)`` float32 RGB in [0, 1], one of the three videos at keyframe ``pair``.
            second: likewise at keyframe ``pair + 1``.
            times: ``(B,)`` float32 on the same device, τ between 0 (the first keyframe) and 1.
            pair: m.
        """


def key_motions(keyframes: Tensor, source: KeyFlow, device: torch.device | str) -> list[KeyMotion]:
    """Return the motion of every pair of neighbouring keyframes, each a batch of one, without gradient.

    Args:
        keyframes: ``(n, 3, h, w)`` float32 RGB in [0, 1]; the motions are kept on their device.
        source: where flow comes from.
        device: where ``source`` computes.
    """
    count, height, width = len(keyframes) - 1, *keyframes.shape[-2:]
    size = max(KEY_PIXELS // (height * width), 1)  # by the frame size alone, so that rounding is the same
    motions: list[KeyMotion] = []
    with torch.no_grad():
        for start in range(0, count, size):
            pairs = range(start, min(start + size, count))
            frames = keyframes[start : pairs.stop + 1].to(device)
            found = source.between(frames[:-1], frames[1:], pairs).to(keyframes.device)
            motions.extend(found.take(i) for i in range(len(pairs)))
    return motions


class RaftFlow:
    """Keyframe flow by RAFT, in float32, at a size that RAFT takes.

    Frames are enlarged by the smallest whole factor that brings the short side to 128 pixels (bilinear, pixel areas
    aligned), extended by their edge to multiples of 8, and the flow is cut, resized back and divided by the factor.

    Source: Teed and Deng 2020 (arXiv:2003.12039). DiffST's paper does not name its network; DOVE, by the same group,
    wires RAFT to the same recurrence with 20 updates.

    Args:
        network: RAFT with its parameters; it is put in evaluation mode and frozen.
        updates: how often the flow is updated.
        optimised: estimate both directions of all pairs at once; ``False`` is the plain form.
    """

    def __init__(self, network: nn.Module, updates: int = 20, *, optimised: bool = True) -> None:
        self.network = network.eval().requires_grad_(False)
        self.updates = updates
        self.optimised = optimised

    def between(self, first: Tensor, second: Tensor, pairs: Sequence[int]) -> KeyMotion:
        """See :class:`KeyFlow`."""
        starts, ends = torch.cat([first, second]), torch.cat([second, first])
        if self.optimised:
            both = self._flow(starts, ends)
        else:
            both = torch.cat(
                [self._flow(*pair) for pair in zip(torch.split(starts, 1), torch.split(ends, 1), strict=True)]
            )
        return KeyMotion(*both.chunk(2))

    def _flow(self, first: Tensor, second: Tensor) -> Tensor:
        height, width = first.shape[-2:]
        factor = enlargement(height, width)
        (start, inside), (end, _) = (pad_to_eight(2 * resized(x, factor) - 1) for x in (first, second))
        with _without_autocast(start.device):
            flow = raft_flow(self.network, start, end, self.updates)[:, :, *inside]
        if factor > 1:
            flow = F.interpolate(flow, (height, width), mode="bilinear", align_corners=False) / factor
        return flow


def enlargement(height: int, width: int) -> int:
    """The smallest whole factor that brings the short side to what RAFT takes.

    >>> enlargement(180, 320), enlargement(80, 160), enlargement(5, 300)
    (1, 2, 26)
    """
    return -(-MINIMUM // min(height, width, MINIMUM))


def _without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Flow is float32 in training, too; the meta device has no autocast to switch off."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


class NetworkFlow:
    """Flow by a network of the RIFE family, without its refinement.

    Frames are padded with zeros at the right and bottom; flow and share are cut back to the frame, so that warping by
    them repeats the frame's edge and never brings in the padding.

    Args:
        network: takes ``(B, 6, H, W)`` pairs, ``(B,)`` times and ``refine=False``, and returns ``flow`` and ``logit``
            as :class:`~stvsr_bench.nn.ifnet_paper.IFNet` does.
        multiple: sides that the network gets are multiples of it, as upstream pads: the amount changes the flow.
    """

    def __init__(self, network: nn.Module, multiple: int = 32) -> None:
        self.network = network
        self.multiple = multiple

    @torch.no_grad()
    def toward(self, first: Tensor, second: Tensor, times: Tensor, pair: int) -> MidMotion:
        """See :class:`MidFlow`."""
        height, width = first.shape[-2:]
        padding = (0, -width % self.multiple, 0, -height % self.multiple)
        with _without_autocast(first.device):
            found = self.network(F.pad(torch.cat([first, second], 1), padding), times, refine=False)
        flow, share = (x[..., :height, :width] for x in (found.flow, torch.sigmoid(found.logit)))
        return MidMotion(flow[:, :2], flow[:, 2:], share)

    def between(self, first: Tensor, second: Tensor, pairs: Sequence[int]) -> KeyMotion:
        """See :class:`KeyFlow`: the flow of the frames at τ = 0 and τ = 1, times that the network never saw."""
        start, end = (self.toward(first, second, first.new_full((len(first),), t), pairs[0]) for t in (0.0, 1.0))
        return KeyMotion(start.to_second, end.to_first)
