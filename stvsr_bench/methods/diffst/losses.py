"""What DiffST is trained for: four losses and their sum. Nothing here trains; flow and perceptual distance come in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor

from stvsr_bench.core.errors import ConfigError
from stvsr_bench.methods.diffst.flow import KeyMotion
from stvsr_bench.methods.diffst.propagation import valid
from stvsr_bench.nn.warp import flow_warp

GAMMA = 0.1
"""Weight of the consistency loss; the others have 1."""

Perceptual = Callable[[Tensor, Tensor], Tensor]
"""A distance of frames ``(N, 3, H, W)`` float32 RGB in [0, 1] to others; gives one value, or one for each frame."""
Reduction = Literal["mean", "sum"]


class Losses(NamedTuple):
    """The four losses, each a float32 scalar that is 0 for a perfect restoration.

    Source: DiffST (arXiv 2605.13182), section 3.4, without code. The paper states the four terms and γ; the range of
    the second and third is that of DOVE, the same group's work.

    Attributes:
        latent: mean squared error of the restored latents.
        reconstruction: mean squared error of the decoded video.
        perceptual: distance of its frames (LPIPS in the paper), their mean.
        consistency: see :func:`consistency_loss`.
    """

    latent: Tensor
    reconstruction: Tensor
    perceptual: Tensor
    consistency: Tensor

    def total(self, gamma: float = GAMMA) -> Tensor:
        """Return what is minimised: the sum, with the consistency weighted by γ."""
        return self.latent + self.reconstruction + self.perceptual + gamma * self.consistency


def losses(
    *,
    latents: Tensor,
    target_latents: Tensor,
    video: Tensor,
    target: Tensor,
    motion: KeyMotion,
    perceptual: Perceptual,
    consis_reduction: Reduction = "mean",
    consis_mask: bool = False,
) -> Losses:
    """Return the losses of a batch of restored clips; gradients reach ``latents`` and ``video`` only.

    Args:
        latents: ``(B, C, F, h, w)`` after the step, standardised.
        target_latents: those of the true video, likewise.
        video: ``(B, T, 3, H, W)`` decoded, RGB, [0, 1] being the range of a video; not clamped, so that the gradient
            brings back what lies outside.
        target: the true video, likewise.
        motion: see :func:`consistency_loss`.
        perceptual: see :data:`Perceptual`.
        consis_reduction: likewise, ``reduction``.
        consis_mask: likewise, ``masked``.

    Raises:
        ValueError: tensors that belong together have different shapes.
        ConfigError: an unknown reduction.
    """
    frames, true_frames = (each.float().flatten(0, 1) for each in (video, target.detach()))
    return Losses(
        latent=_squared("latents", latents, target_latents),
        reconstruction=_squared("video", video, target),
        perceptual=perceptual(frames, true_frames).float().mean(),
        consistency=consistency_loss(video, motion, reduction=consis_reduction, masked=consis_mask),
    )


def consistency_loss(
    video: Tensor,
    motion: KeyMotion,
    *,
    reduction: Reduction = "mean",
    masked: bool = False,
    alpha: Sequence[float] = (0.01, 0.5),
) -> Tensor:
    """Return how much neighbouring frames differ where the motion of the true video says that they are the same.

    For neighbours i and i + 1 this is |W(Î^(i+1), F^(i→i+1)) - Î^i| + |W(Î^i, F^(i+1→i)) - Î^(i+1)|, with W a backward
    warp that repeats the edge: with zeros outside the frame, whatever moves out of it would be pulled towards black.

    Source: DiffST (arXiv 2605.13182), equation 10, which prints the flow i+1→i for a warp of frame i+1. A backward warp
    needs the flow that starts at the frame it makes, as in equation 3, so that is what is taken. The mean in place of
    the printed sum is ours (γ then means the same at every size), and so is the mask: the paper has none.

    Args:
        video: ``(B, T, 3, H, W)`` restored RGB, [0, 1] being the range of a video.
        motion: of the true video, the ``B·(T - 1)`` pairs of neighbours, clip after clip; no gradient goes there.
        reduction: ``mean`` over pixels, channels and pairs, the two directions added; ``sum`` adds up each clip, as
            printed, and takes the mean of clips.
        masked: leave out what the other frame does not show: it counts 0, also in the mean, so that a change of scene
            weighs next to nothing. By the masks of ``motion``, or else by
            :func:`~stvsr_bench.methods.diffst.propagation.valid`.
        alpha: constants of the latter.

    Returns:
        A float32 scalar; 0 for a single frame.

    Raises:
        ValueError: ``motion`` is not that of the pairs.
        ConfigError: an unknown reduction.
    """
    if reduction not in ("mean", "sum"):
        raise ConfigError("the consistency loss has no such reduction", got=repr(reduction), accepted="mean, sum")
    batch, count, _, height, width = video.shape
    expected = (batch * (count - 1), 2, height, width)
    if motion.ahead.shape != expected or motion.behind.shape != expected:
        found = [list(flow.shape) for flow in motion[:2]]
        raise ValueError(f"a video {list(video.shape)} needs flows {list(expected)}, not {found}")
    frames = video.float()
    if count == 1:
        return frames.new_zeros(())
    first, second = frames[:, :-1].flatten(0, 1), frames[:, 1:].flatten(0, 1)
    ahead, behind = motion.ahead.detach(), motion.behind.detach()
    early = (flow_warp(second, ahead) - first).abs()
    late = (flow_warp(first, behind) - second).abs()
    if masked:
        limits = (alpha[0], alpha[1])
        early = early * (valid(ahead, behind, limits) if motion.seen_ahead is None else motion.seen_ahead)
        late = late * (valid(behind, ahead, limits) if motion.seen_behind is None else motion.seen_behind)
    both = early + late
    return both.mean() if reduction == "mean" else both.sum() / batch


def _squared(what: str, found: Tensor, true: Tensor) -> Tensor:
    """Mean squared error in float32."""
    if found.shape != true.shape:  # broadcasting would make a number of it
        raise ValueError(f"{what}: {list(found.shape)} is not the shape of the true ones, {list(true.shape)}")
    return F.mse_loss(found.float(), true.detach().float())
