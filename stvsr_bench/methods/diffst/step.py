"""The one step of DiffST: latents on the scale of the diffusion network, its velocity, and the update."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stvsr_bench.core.errors import ConfigError
from stvsr_bench.methods.diffst.standardise import Standardise

TIMESTEP = 799.0
"""What the network is told: a value of its table of 1000, not an index into it and not a share of noise."""
SIGMA = 0.7990620491
"""The entry of the table that is nearest to it: of s = k/1000 after ``5 s / (1 + 4 s)``, k = 443."""
TABLE = 1000.0


@dataclass(frozen=True)
class OneStep:
    """One step of flow matching from noise share ``sigma`` to 0.

    The velocity of Wan is noise minus data, so ``z_0 = z_sigma - sigma * v``. Timestep and ``sigma`` belong together
    (1000 sigma after shifting is what Wan's network is fed), and both are stored, never computed from one another.

    Source: DiffST (arXiv 2605.13182), equation 2, for the timestep and the update; which sigma goes with it is what
    InfVSR, of the same group on the same network, does for its own timestep.

    Attributes:
        timestep: 1 to 1000.
        sigma: share of noise, above 0 and at most 1.

    Raises:
        ConfigError: either lies outside.
    """

    timestep: float = TIMESTEP
    sigma: float = SIGMA

    def __post_init__(self) -> None:
        if not _number(self.timestep) or not 1 <= self.timestep <= TABLE:
            raise ConfigError(
                "the timestep is not one of the network's",
                got=repr(self.timestep),
                accepted="a number from 1 to 1000; a share of noise such as 0.799 is `sigma`",
            )
        if not _number(self.sigma) or not 0 < self.sigma <= 1:
            raise ConfigError("sigma is no share of noise", got=repr(self.sigma), accepted="above 0 and at most 1")

    def __call__(self, transformer: nn.Module, latents: Tensor, context: Tensor) -> Tensor:
        """Return the restored latents: one call of the network, no guidance, no noise.

        Args:
            transformer: diffusers' ``WanTransformer3DModel`` or a network that is called like it.
            latents: ``(B, C, F, h, w)`` standardised.
            context: ``(B, L, D)`` or ``(1, L, D)``, what its cross-attention is given.

        Returns:
            ``(B, C, F, h, w)`` float32, whatever the network's dtype.
        """
        # the narrowest: some parameters of a half-precision network stay float32
        dtype = min((p.dtype for p in transformer.parameters()), key=lambda dtype: dtype.itemsize)
        velocity = transformer(
            hidden_states=latents.to(dtype),
            timestep=self.timesteps(len(latents), latents.device),
            encoder_hidden_states=context.to(dtype).expand(len(latents), -1, -1),
            return_dict=False,
        )[0]
        return self.update(latents, velocity)

    def timesteps(self, batch: int, device: torch.device | str) -> Tensor:
        """Return the timestep ``(batch,)``, float32: in bfloat16 799 would become 800."""
        return torch.full((batch,), self.timestep, dtype=torch.float32, device=device)

    def update(self, latents: Tensor, velocity: Tensor) -> Tensor:
        """Return ``latents - sigma * velocity``, computed in float32."""
        return latents.float() - self.sigma * velocity.float()


def latent_scale(config: Mapping[str, Any]) -> Standardise:
    """Return what puts the posterior means of a Wan VAE on the scale of the diffusion network, and back.

    Args:
        config: of ``AutoencoderKLWan``; ``latents_mean``, ``latents_std`` and ``z_dim`` are read.

    Raises:
        ConfigError: an entry is absent, or not one value for each latent channel.
    """
    entries = {name: config.get(name) for name in ("latents_mean", "latents_std")}
    channels = config.get("z_dim")
    for name, values in entries.items():
        if not isinstance(values, Sequence) or len(values) != channels or not all(map(_number, values)):
            raise ConfigError(
                f"the VAE's {name} is not usable",
                got=repr(values),
                accepted=f"one number for each of its latent channels (z_dim: {channels})",
                action="take the config.json that belongs to the VAE",
            )
    return Standardise(config["latents_mean"], config["latents_std"])


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
