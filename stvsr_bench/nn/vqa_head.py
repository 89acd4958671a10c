"""The head that FAST-VQA, FasterVQA and DOVER put on their trunks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class VqaHead(nn.Module):
    """One score for each token; the score of a clip is their mean.

    Args:
        dim: channels of the features.
        hidden: channels in between.

    Source: Wu et al. 2022, FAST-VQA (arXiv:2207.02595): two pointwise layers with an exact GELU between them.
    """

    def __init__(self, dim: int, hidden: int = 64) -> None:
        super().__init__()
        self.fc_hid = nn.Conv3d(dim, hidden, 1)
        self.fc_last = nn.Conv3d(hidden, 1, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the score map ``(B, 1, D, H, W)`` of features ``(B, C, D, H, W)``."""
        out: torch.Tensor = self.fc_last(F.gelu(self.fc_hid(features)))
        return out
