"""Seeded parameters under the names and shapes of the published ones, for tests that compare no values."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch

from stvsr_bench.nn.alexnet import AlexNetFeatures
from stvsr_bench.nn.seeded import seed_parameters
from stvsr_bench.nn.vgg import CHANNELS, Vgg16Features

Tensors = dict[str, torch.Tensor]


def _module(build: Callable[[], torch.nn.Module], name: str) -> Tensors:
    module = build()
    seed_parameters(module, name)
    return module.state_dict()


def _heads(channels: tuple[int, ...]) -> Tensors:
    generator = torch.Generator().manual_seed(5)
    return {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1, generator=generator) for i, c in enumerate(channels)}


SEEDED: dict[str, Callable[[], Tensors]] = {
    "lpips/alexnet": lambda: _module(AlexNetFeatures, "lpips/alexnet"),
    "lpips/vgg16": lambda: _module(Vgg16Features, "lpips/vgg16"),
    "lpips/heads_alex": lambda: _heads((64, 192, 384, 256, 256)),
    "lpips/heads_vgg": lambda: _heads(CHANNELS),
}
"""What makes the tensors of each weight."""


@cache
def seeded_weight(weight: str) -> Tensors:
    """Stand in for ``service.load_weight``."""
    return SEEDED[weight]()
