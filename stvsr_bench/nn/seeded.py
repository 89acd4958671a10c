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


def give_storage(module: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Replace parameters that lie on the meta device by ones without values on ``device``; floats get ``dtype``."""
    made: dict[int, nn.Parameter] = {}  # a parameter with two names stays one
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is None or not parameter.is_meta:
                continue
            if id(parameter) not in made:
                kind = dtype if parameter.is_floating_point() else parameter.dtype
                values = torch.empty(parameter.shape, dtype=kind, device=device)
                made[id(parameter)] = nn.Parameter(values, requires_grad=False)
            part._parameters[name] = made[id(parameter)]


@torch.no_grad()
def fill_quickly(module: nn.Module) -> None:
    """Fill as :func:`seed_parameters` does in size, with the same noise again and again: for measuring speed only.

    A network of six thousand million parameters takes seconds, on any device and in any dtype.
    """
    noise = torch.randn(1_000_003, generator=torch.Generator().manual_seed(0))
    ready: dict[tuple[torch.device, torch.dtype], torch.Tensor] = {}
    for parameter in module.parameters():
        if parameter.ndim < 2:
            parameter.fill_(1.0)
            continue
        key = (parameter.device, parameter.dtype)
        if key not in ready:
            ready[key] = noise.to(*key)
        values = ready[key] / parameter[0].numel() ** 0.5
        flat = parameter.view(-1)
        for start in range(0, len(flat), len(values)):
            piece = flat[start : start + len(values)]
            piece.copy_(values[: len(piece)])
