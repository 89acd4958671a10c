"""From the raw scores of DOVER and FasterVQA to the numbers that papers print."""

from __future__ import annotations

import math

import torch

_MEAN = (123.675, 116.28, 103.53)
_DEVIATION = (58.395, 57.12, 57.375)


def normalise_view(view: torch.Tensor) -> torch.Tensor:
    """Scale a uint8 RGB view ``(3, T, H, W)`` to what the networks were trained on, float32 ``(1, 3, T, H, W)``."""
    mean, deviation = (torch.tensor(values, device=view.device).reshape(3, 1, 1, 1) for values in (_MEAN, _DEVIATION))
    return ((view.float() - mean) / deviation)[None]


def technical_logit(raw: float) -> float:
    """DOVER's standardised technical score."""
    return (raw - 0.1107) / 0.07355


def aesthetic_logit(raw: float) -> float:
    """DOVER's standardised aesthetic score."""
    return (raw + 0.08285) / 0.03774


def fused_logit(technical: float, aesthetic: float) -> float:
    """DOVER's overall score of two raw ones, before the sigmoid.

    Source: DOVER's ``evaluate_a_set_of_videos.py`` and ``evaluate_one_video.py``.
    """
    return 0.6104 * technical_logit(technical) + 0.3896 * aesthetic_logit(aesthetic)


def fastervqa_logit(raw: float) -> float:
    """FasterVQA's standardised score.

    Source: FAST-VQA's ``vqa.py``, the constants of FasterVQA; its other models have others.
    """
    return (raw - 0.14759505) / 0.03613452


def sigmoid(logit: float) -> float:
    """Map a standardised score to 0 … 1, finite for any finite input.

    >>> sigmoid(0.0), sigmoid(-800.0), sigmoid(800.0)
    (0.5, 0.0, 1.0)
    """
    if logit >= 0:
        return 1 / (1 + math.exp(-logit))
    power = math.exp(max(logit, -745.2))
    return power / (1 + power)
