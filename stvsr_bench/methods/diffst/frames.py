"""DiffST's arithmetic of frames: how many there are, and how they get the size and count that the networks take."""

from __future__ import annotations

import math
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from stvsr_bench.nn.padding import padded_length

SIDE_MULTIPLE = 16
"""Sides of the video: the VAE takes an eighth, the transformer half of that."""

TIME_MULTIPLE = 4
"""Frames of the video are 4m + 1: the VAE codes the first one alone and the others by four."""

Tail = Literal["crop", "repeat"]
Upsample = Literal["bilinear", "bicubic"]
PadMode = Literal["replicate", "zeros"]


def output_frames(keyframes: int, time_scale: int, tail: Tail = "crop") -> int:
    """How many frames come out: those from the first keyframe to the last, or with ``repeat`` φt for each keyframe.

    >>> output_frames(9, 4), output_frames(5, 4), output_frames(1, 4), output_frames(8, 4, "repeat")
    (33, 17, 1, 32)
    """
    return time_scale * keyframes if tail == "repeat" else time_scale * (keyframes - 1) + 1


def keyframe_count(frames: int, time_scale: int) -> int:
    """How many keyframes stand at 0, φt, 2·φt … among ``frames``.

    >>> keyframe_count(17, 4), keyframe_count(32, 4)
    (5, 8)
    """
    return (frames - 1) // time_scale + 1


def enlarged(frames: Tensor, scale: int, mode: Upsample = "bilinear", pad_mode: PadMode = "replicate") -> Tensor:
    """Enlarge each frame on its own and take it to the range of the VAE.

    Args:
        frames: ``(T, 3, h, w)`` float32 RGB in [0, 1].
        scale: φs.
        mode: interpolation with pixel areas aligned, without antialias; ``bicubic`` has a = -0.75 and is clamped.
        pad_mode: ``zeros`` extends the small frames with black at the right and bottom, as far as the video needs
            (DOVE's way); ``replicate`` leaves that to :func:`padded`.

    Returns:
        ``(T, 3, φs·h, φs·w)`` in [-1, 1], larger by the padding.
    """
    if pad_mode == "zeros":
        multiple = SIDE_MULTIPLE // math.gcd(SIDE_MULTIPLE, scale)
        height, width = frames.shape[-2:]
        frames = F.pad(frames, (0, -width % multiple, 0, -height % multiple))
    if scale > 1:
        frames = F.interpolate(frames, scale_factor=scale, mode=mode, align_corners=False)
    return frames.clamp(0, 1) * 2 - 1


def padded(video: Tensor) -> Tensor:
    """Extend ``(B, 3, T, H, W)`` by its edge, at the end in time and at the right and bottom, to what the VAE takes."""
    frames, height, width = video.shape[-3:]
    later = padded_length(frames, TIME_MULTIPLE, 1) - frames
    return F.pad(video, (0, -width % SIDE_MULTIPLE, 0, -height % SIDE_MULTIPLE, 0, later), mode="replicate")


def cropped(video: Tensor, frames: int, height: int, width: int) -> Tensor:
    """Take what :func:`padded` added off again."""
    return video[..., :frames, :height, :width]
