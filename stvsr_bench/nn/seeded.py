"""Parameters for networks that run without trained ones: reproducible, and of a size that keeps signals finite."""

from __future__ import annotations

import torch
from torch import nn

from stvsr_bench.core.seeding import derive_seed


@torch.no_grad()
def seed_parameters(module: nn.Module, *names: str) -> None:
    """Fill the parameters of ``module`` from generators seeded by ``names`` and each parameter's own name.

    Weights with a fan-in are normal with variance 1 / fan-in, scales are one (PReLU slopes a quarter), biases normal
    with deviation 0.01. Buffers keep what the constructor gave them.
    """
    for path, part in module.named_modules():
        for name, parameter in part.named_parameters(recurse=False):
            generator = torch.Generator().manual_seed(derive_seed(0, *names, f"{path}.{name}"))
            if parameter.ndim > 1:
                values = torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5
            elif name == "bias":
                values = torch.randn(parameter.shape, generator=generator) * 0.01
            else:
                values = torch.full(parameter.shape, 0.25 if isinstance(part, nn.PReLU) else 1.0)
            parameter.copy_(values)
