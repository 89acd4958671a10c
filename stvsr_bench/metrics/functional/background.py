"""VBench background consistency: what CLIP is shown, and how its features are compared."""

from __future__ import annotations

import torch
import torchvision.transforms.functional as TF  # type: ignore[import-untyped]

from stvsr_bench.metrics.clip_vit import normalise

SIDE = 224


def clip_input(frames: torch.Tensor) -> torch.Tensor:
    """Prepare frames for CLIP as VBench does.

    The shorter side is resized to 224 (bicubic, without antialiasing, on float 0 … 255, overshoot kept), the middle
    224×224 cut out, scaled to [0, 1] and normalised.

    Shapes: ``(T, 3, H, W)`` uint8 → ``(T, 3, 224, 224)`` float32.
    Source: VBench (arXiv:2311.17982), its transform for tensors.
    """
    resized = TF.resize(frames.float(), SIDE, interpolation=TF.InterpolationMode.BICUBIC, antialias=False)
    return normalise(TF.center_crop(resized, [SIDE, SIDE]).div(255))


def consistency(first: torch.Tensor, before: torch.Tensor, frame: torch.Tensor) -> float:
    """Likeness of a frame to the one before and to the clip's first: mean of the two cosines, negative ones as 0.

    Shapes: all ``(C,)``; any length.
    Returns: 0 … 1, higher is better.

    >>> east, north = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 1.0])
    >>> consistency(east, north, north)
    0.5
    """
    first, before, frame = (torch.nn.functional.normalize(v.double(), dim=0) for v in (first, before, frame))
    return (max(0.0, float(before @ frame)) + max(0.0, float(first @ frame))) / 2
