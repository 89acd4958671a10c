"""SRVGGNetCompact, the small network of Real-ESRGAN's animation and general v3 models.

Source: Real-ESRGAN (arXiv:2107.10833), repository a4abfb2. Parameter names are the official ones.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F


class SRVGGNetCompact(nn.Module):
    """RGB in [0, 1] ``(N, 3, h, w)`` to ``(N, 3, scale·h, scale·w)``, not clamped: a plain stack that adds detail to
    the input enlarged by repetition.

    Args:
        scale: any whole factor.
        features: channels of the stack.
        convolutions: number of middle convolutions, besides the first and the last.
        activation: after all convolutions but the last; every published file has ``prelu``.
    """

    multiple = 1

    def __init__(
        self,
        scale: int = 4,
        features: int = 64,
        convolutions: int = 16,
        activation: Literal["prelu", "leakyrelu", "relu"] = "prelu",
    ) -> None:
        super().__init__()
        self.scale = scale
        layers: list[nn.Module] = []
        for inputs in (3, *[features] * convolutions):
            layers += [nn.Conv2d(inputs, features, 3, padding=1), _activation(activation, features)]
        layers.append(nn.Conv2d(features, 3 * scale**2, 3, padding=1))
        self.body = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pixel_shuffle(self.body(x), self.scale) + F.interpolate(x, scale_factor=self.scale, mode="nearest")


def _activation(kind: Literal["prelu", "leakyrelu", "relu"], features: int) -> nn.Module:
    if kind == "prelu":
        return nn.PReLU(features)
    return nn.LeakyReLU(0.1) if kind == "leakyrelu" else nn.ReLU()
