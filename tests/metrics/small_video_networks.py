"""DOVER and FasterVQA with their real classes at toy width, for tests that compare no published values."""

from __future__ import annotations

import torch
from torch import nn

from stvsr_bench.metrics.dover.convnext import InflatedConvNext
from stvsr_bench.nn.seeded import seed_parameters
from stvsr_bench.nn.swin3d import VideoSwin
from stvsr_bench.nn.vqa_head import VqaHead

ONE = (1, 1, 1, 1)


class SmallDover(nn.Module):
    """``DoverNetwork`` with one block in each stage."""

    def __init__(self) -> None:
        super().__init__()
        self.technical_backbone = VideoSwin(8, ONE, ONE)
        self.technical_head = VqaHead(64)
        self.aesthetic_backbone = InflatedConvNext(8, ONE)
        self.aesthetic_head = VqaHead(64)


class SmallFasterVqa(nn.Module):
    """``FasterVqaNetwork`` with one block in each stage."""

    def __init__(self) -> None:
        super().__init__()
        self.fragments_backbone = VideoSwin(8, ONE, ONE)
        self.vqa_head = VqaHead(64)


def small_weight(weight: str) -> dict[str, torch.Tensor]:
    """Stand in for ``service.load_weight``; the last layer is small, as scores must not saturate the sigmoid."""
    network, head = {
        "dover/dover": (SmallDover, ("technical_head", "aesthetic_head")),
        "fastervqa/fastervqa": (SmallFasterVqa, ("vqa_head",)),
    }[weight]
    module = network()
    seed_parameters(module, weight)
    tensors = module.state_dict()
    for name in head:
        tensors[f"{name}.fc_last.weight"] *= 0.02
        tensors[f"{name}.fc_last.bias"].fill_(0.12 if name != "aesthetic_head" else -0.08)
    return tensors
