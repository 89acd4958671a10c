"""Seeded parameters under the names and shapes of the published ones, for tests that compare no values."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torchvision.models.optical_flow import raft_large

from stvsr_bench.metrics.clip_vit import ClipVit
from stvsr_bench.metrics.stlpips import Net, StLpipsNetwork
from stvsr_bench.nn.alexnet import AlexNetFeatures
from stvsr_bench.nn.pwcnet import PwcNet
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


def _raft(name: str) -> Tensors:
    tensors = _module(lambda: raft_large(weights=None), name)
    for last in ("weight", "bias"):  # flows of a few pixels, so that not everything is hidden
        tensors[f"update_block.flow_head.conv2.{last}"] *= 1e-3
    return tensors


def _stlpips(net: Net) -> Tensors:
    tensors = _module(lambda: StLpipsNetwork(net), f"stlpips/{net}")
    return {name: value.abs() if name.startswith("lin") else value for name, value in tensors.items()}


def _dists() -> Tensors:
    generator = torch.Generator().manual_seed(6)
    return {name: torch.rand(1, 3 + sum(CHANNELS), 1, 1, generator=generator) for name in ("alpha", "beta")}


def _pristine() -> Tensors:
    side = torch.exp(-(torch.arange(-3, 4, dtype=torch.float64) ** 2) / (2 * (7 / 6) ** 2))
    window = torch.outer(side, side)
    return {
        "mu_pris_param": torch.linspace(0, 2, 36, dtype=torch.float64)[None],
        "cov_pris_param": torch.eye(36, dtype=torch.float64) / 8,
        "gaussian_window": window / window.sum(),
    }


SEEDED: dict[str, Callable[[], Tensors]] = {
    "lpips/alexnet": lambda: _module(AlexNetFeatures, "lpips/alexnet"),
    "lpips/vgg16": lambda: _module(Vgg16Features, "lpips/vgg16"),
    "lpips/heads_alex": lambda: _heads((64, 192, 384, 256, 256)),
    "lpips/heads_vgg": lambda: _heads(CHANNELS),
    "stlpips/alex": lambda: _stlpips("alex"),
    "stlpips/vgg": lambda: _stlpips("vgg"),
    "dists/alpha_beta": _dists,
    "niqe/pristine": _pristine,
    "pwcnet/default": lambda: _module(PwcNet, "pwcnet/default"),
    "raft/large": lambda: _raft("raft/large"),
    "raft/things": lambda: _raft("raft/things"),
    "vbench/clip_vit_b32": lambda: _module(lambda: ClipVit(width=128, layers=2, features=32), "vbench/clip_vit_b32"),
}
"""What makes the tensors of each weight."""


@cache
def seeded_weight(weight: str) -> Tensors:
    """Stand in for ``service.load_weight``."""
    return SEEDED[weight]()
