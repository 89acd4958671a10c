"""CFCA, DiffST's cross-frame context aggregation: keyframes in, all frames out, still at the input's size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from stvsr_bench.core.errors import ConfigError
from stvsr_bench.methods.diffst.flow import KeyMotion, MidFlow, NetworkFlow
from stvsr_bench.methods.diffst.fusion import Fusion
from stvsr_bench.methods.diffst.propagation import Propagation, PropagationMode
from stvsr_bench.nn.ifnet_paper import WIDTHS, IFNet
from stvsr_bench.nn.warp import flow_warp

Aggregation = Literal["interp", "flow_two", "flow_multi"]

MID_PIXELS = 1 << 19
"""LR pixels that a batch of intermediate frames aims at (about 0.3 kB of working memory each)."""

FUSION_PIXELS = 1 << 18
"""LR pixels that a batch of Ψ aims at (about 3 kB of working memory each)."""


class CFCA(nn.Module):
    """Fills in the frames between keyframes from all keyframes.

    Three videos stand beside each other at the keyframes: the input, and what propagation brings to each keyframe from
    the later and from the earlier ones (equation 3). Between two keyframes each of the videos is interpolated by flow
    (equation 4), and Ψ makes one frame of the three (equation 5). The three modes are the rows of the paper's table 2.

    Only what the mode needs is built: ``ifnet`` (blocks 0 to 2 of IFNet_m, frozen) where there is flow, ``psi`` in
    ``flow_multi``. Flow between keyframes is found beforehand (:func:`~stvsr_bench.methods.diffst.flow.key_motions`),
    by RAFT or by ``flow``, the source of motion that ``ifnet`` is.

    Source: DiffST (arXiv 2605.13182), section 3.2, from the paper: there is no code.

    Args:
        mode: ``interp`` blends the neighbouring keyframes linearly, ``flow_two`` interpolates them by flow,
            ``flow_multi`` is the whole.
        keep_keyframes: input frames are part of the output as they are; ``False`` fuses the three videos there, too
            (which only ``flow_multi`` has).
        prop_mode: see :class:`~stvsr_bench.methods.diffst.propagation.Propagation`.
        chain: likewise.
        fb_alpha: likewise, ``alpha``.
        share_flow: take flow and share of the input for all three videos: a third of the cost.
        psi_width: see :class:`~stvsr_bench.methods.diffst.fusion.Fusion`.
        psi_blocks: likewise.
        psi_groups: likewise.
        ifnet_widths: see :class:`~stvsr_bench.nn.ifnet_paper.IFNet`.
        vfi: another network in place of IFNet_m, as :class:`~stvsr_bench.methods.diffst.flow.NetworkFlow` takes it
            (RIFE 4.0 does); it is frozen and becomes ``ifnet``.
        vfi_multiple: what it pads frames to.
        optimised: work on several videos and times at once and keep warping grids; ``False`` is the plain form.

    Raises:
        ConfigError: an unknown mode, or constants of the validity mask that are not two numbers from 0.
    """

    def __init__(
        self,
        *,
        mode: Aggregation = "flow_multi",
        keep_keyframes: bool = True,
        prop_mode: PropagationMode = "copy",
        chain: bool = False,
        fb_alpha: Sequence[float] = (0.01, 0.5),
        share_flow: bool = False,
        psi_width: int = 192,
        psi_blocks: int = 7,
        psi_groups: int = 8,
        ifnet_widths: Sequence[int] = WIDTHS,
        vfi: nn.Module | None = None,
        vfi_multiple: int = 32,
        optimised: bool = True,
    ) -> None:
        super().__init__()
        _one_of("cfca.mode", mode, ("interp", "flow_two", "flow_multi"))
        _one_of("cfca.prop_mode", prop_mode, ("copy", "fuse"))
        if len(fb_alpha) != 2 or not all(0 <= value < float("inf") for value in fb_alpha):
            raise ConfigError(
                "method 'diffst': cfca.fb_alpha", got=repr(list(fb_alpha)), accepted="two numbers from 0: α1, α2 (px²)"
            )
        self.mode, self.keep_keyframes, self.share_flow, self.optimised = mode, keep_keyframes, share_flow, optimised
        self.propagation = Propagation(prop_mode, chain, (fb_alpha[0], fb_alpha[1]), optimised)
        self.psi = Fusion(psi_width, psi_blocks, psi_groups) if mode == "flow_multi" else None
        self.ifnet: nn.Module | None = None
        self.flow: NetworkFlow | None = None
        if mode != "interp":
            self.ifnet = vfi or IFNet(ifnet_widths, timed=True, refine=False, optimised=optimised)
            self.flow = NetworkFlow(self.ifnet.requires_grad_(False), vfi_multiple)

    def forward(
        self,
        keyframes: Tensor,
        time_scale: int,
        motions: Sequence[KeyMotion] | None = None,
        mid_flow: MidFlow | None = None,
    ) -> Tensor:
        """Return all frames, ``(φt·(n - 1) + 1, 3, h, w)``; arguments as for :meth:`stream`."""
        return torch.cat(list(self.stream(keyframes, time_scale, motions, mid_flow)))

    def stream(
        self,
        keyframes: Tensor,
        time_scale: int,
        motions: Sequence[KeyMotion] | None = None,
        mid_flow: MidFlow | None = None,
    ) -> Iterator[Tensor]:
        """Yield all frames in order, a pair of keyframes at a time.

        What waits (keyframes, motions, the backward video) stays on the device of ``keyframes``; the device of the
        parameters holds one pair. Gradients reach Ψ only.

        Args:
            keyframes: ``(n, 3, h, w)`` float32 RGB in [0, 1] of any size; keyframe m becomes frame m·φt. One keyframe
                is returned as it is.
            time_scale: φt, at least 1.
            motions: of the ``n - 1`` neighbouring pairs; needed in ``flow_multi`` where n > 1.
            mid_flow: motion of the frames between; default: ``flow``.

        Yields:
            ``(T', 3, h, w)`` float32 in [0, 1], on the device of ``keyframes``.

        Raises:
            ValueError: a time scale below 1, no keyframe, or another number of motions.
        """
        if time_scale < 1 or keyframes.ndim != 4 or len(keyframes) < 1:
            raise ValueError(f"nothing to aggregate: φt {time_scale}, keyframes {list(keyframes.shape)}")
        if len(keyframes) == 1:
            yield keyframes
            return
        device = next((parameter.device for parameter in self.parameters()), keyframes.device)
        times = torch.arange(1, time_scale, dtype=torch.float32, device=device) / time_scale
        before: Tensor | None = None
        for m, videos in enumerate(self._videos(keyframes, motions, device)):
            if before is not None and time_scale > 1:
                yield self._between(before, videos, times, m - 1, mid_flow).to(keyframes.device)
            if self.keep_keyframes or self.psi is None:
                yield keyframes[m : m + 1]
            else:
                yield self.psi(*torch.split(videos, 1)).to(keyframes.device)
            before = videos

    def _videos(self, keyframes: Tensor, motions: Sequence[KeyMotion] | None, device: torch.device) -> Iterator[Tensor]:
        """Yield what stands at each keyframe: ``(3, 3, h, w)`` input, forward, backward, or the input alone."""
        if self.mode != "flow_multi":
            yield from (frame.to(device) for frame in torch.split(keyframes, 1))
            return
        if motions is None or len(motions) != len(keyframes) - 1:
            found = "none" if motions is None else len(motions)
            raise ValueError(f"{len(keyframes)} keyframes need {len(keyframes) - 1} motions, not {found}")
        yield from self.propagation.videos(keyframes, motions, device)

    def _between(self, first: Tensor, second: Tensor, times: Tensor, pair: int, mid_flow: MidFlow | None) -> Tensor:
        """Frames ``(K, 3, h, w)`` at ``times`` between the videos ``(A, 3, h, w)`` at two keyframes."""
        if self.flow is None:
            late = times.view(-1, 1, 1, 1)
            return first * (1 - late) + second * late
        with torch.no_grad():
            candidates = self._interpolated(first, second, times, pair, mid_flow or self.flow)
        if self.psi is None:
            return candidates[0].clamp(0, 1)
        size = self._batch(FUSION_PIXELS, first)
        return torch.cat([self.psi(*batch.unbind(0)) for batch in torch.split(candidates, size, dim=1)])

    def _interpolated(self, first: Tensor, second: Tensor, times: Tensor, pair: int, source: MidFlow) -> Tensor:
        """Each video at each time, ``(A, K, 3, h, w)``: the two keyframes, warped and weighted by the share."""
        videos, count = len(first), len(times)
        seen = 1 if self.share_flow else videos
        size = self._batch(MID_PIXELS, first)

        def every(frames: Tensor) -> Tensor:  # (A', 3, h, w) to (A'·K, 3, h, w)
            return frames.repeat_interleave(count, 0)

        pieces = zip(
            *(torch.split(x, size) for x in (every(first[:seen]), every(second[:seen]), times.repeat(seen))),
            strict=True,
        )
        flows = [source.toward(a, b, t, pair) for a, b, t in pieces]
        to_first, to_second, share = (
            torch.cat(part).repeat(videos // seen, 1, 1, 1) for part in zip(*flows, strict=True)
        )
        early = flow_warp(every(first), to_first, cached=self.optimised)
        late = flow_warp(every(second), to_second, cached=self.optimised)
        blended = share * early + (1 - share) * late
        return blended.view(videos, count, *blended.shape[1:])

    def _batch(self, pixels: int, frame: Tensor) -> int:
        """Items of the size of ``frame`` in a batch: by the frame size alone, so that rounding is the same."""
        return max(pixels // (frame.shape[-2] * frame.shape[-1]), 1) if self.optimised else 1


def counted_parameters(cfca: CFCA) -> dict[str, int]:
    """Return how many parameters the paper's total counts for each part of ``cfca``.

    IFNet_m counts as it was published, with the refinement and the teacher, neither of which is built here; the flow
    between keyframes does not count. That is the reading of table 5 under which the default adds up to 1,581.46 M.
    """
    counts = {}
    if cfca.psi is not None:
        counts["psi"] = sum(parameter.numel() for parameter in cfca.psi.parameters())
    if cfca.ifnet is not None:
        with torch.device("meta"):
            whole = IFNet(timed=True, teacher=True) if isinstance(cfca.ifnet, IFNet) else cfca.ifnet
        counts["ifnet"] = sum(parameter.numel() for parameter in whole.parameters())
    return counts


def _one_of(knob: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ConfigError(f"method 'diffst': {knob}", got=repr(value), accepted=", ".join(known))
