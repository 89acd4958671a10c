"""float32 that is float32: on CUDA, torch lets convolutions run in TF32 (10 bits of mantissa) unless told otherwise."""

from __future__ import annotations

import torch


def use_exact_float32(device: torch.device | str) -> None:
    """Have float32 convolutions and products on ``device`` computed in float32, the same way every time.

    It holds for the whole process, because metrics and methods run in threads of it at the same time; on a CPU nothing
    is changed. TF32 moves 8-bit pixels and the fourth digit of LPIPS, and an id says nothing of it; for speed there is
    ``dtype=float16``, which is part of a run's identity.
    """
    if torch.device(device).type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
