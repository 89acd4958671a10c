"""One chunk of OSDEnhancer: encode both videos, sample their latents, one step of the transformer, decode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.schedulers.scheduling_dpm_cogvideox import CogVideoXDPMScheduler
from torch import Tensor

from stvsr_bench.methods.base import scaled_side
from stvsr_bench.methods.osdenhancer.configs import Configs
from stvsr_bench.methods.osdenhancer.preparation import initial_video, padding_of, residual_video, unpad
from stvsr_bench.methods.osdenhancer.transformer import rope_tables
from stvsr_bench.nn.windows import Span

TIMESTEP = 399
"""The one timestep that the transformer was trained for."""

Posterior = Literal["sample", "mean"]
Step = Literal["official", "float32"]

Draw = Callable[[torch.Size], Tensor]
"""Standard normal float32 noise of a shape; asked for the initial video first, then for the residual one."""

Using = Callable[[str, str | None], AbstractContextManager[Any]]
"""Runs the stage named first with the part named second, ``vae`` or ``transformer``, on the device; or with none."""


@dataclass(frozen=True)
class Sampling:
    """How latents are drawn and stepped.

    Attributes:
        posterior: ``sample`` draws from the VAE's posterior, as the official code does; ``mean`` takes its mean, as
            the paper reads.
        step: ``official`` rounds alpha to the transformer's dtype before the step, so that in bfloat16 its root is
            0.625 and not 0.6273; ``float32`` computes the step in float32.
    """

    posterior: Posterior = "sample"
    step: Step = "official"


class OneStep:
    """Restores a chunk of a clip; nothing passes from one chunk to the next but the noise's generator.

    Source: «OSDEnhancer», arXiv 2601.20308, and the arithmetic and order of its official pipeline (commit 64dd6e5).
    Unlike there, single frames work, and the noise is the caller's, not the device's global one.

    Args:
        using: gives the two networks while they are needed.
        prompt: the prompt's embedding ``(1, L, text_dim)``; ``None`` where the transformer has its constants prepared.
        configs: configurations of the transformer and the scheduler, and what latents are multiplied by.
        dtypes: of the ``transformer`` and of the ``vae``.
        sampling: how latents are drawn and stepped.
    """

    def __init__(
        self,
        using: Using,
        prompt: Tensor | None,
        configs: Configs,
        dtypes: Mapping[str, torch.dtype],
        sampling: Sampling,
    ) -> None:
        self.using = using
        self.prompt = prompt
        self.transformer = configs.transformer
        self.scheduler = CogVideoXDPMScheduler.from_config(dict(configs.scheduler))
        self.scaling_factor = float(configs.vae["scaling_factor"])
        self.dtype, self.vae_dtype = dtypes["transformer"], dtypes["vae"]
        self.sampling = sampling

    @torch.no_grad()
    def __call__(self, frames: Tensor, span: Span, scale: float, time_scale: int, draw: Draw) -> Tensor:
        """Restore one chunk.

        Args:
            frames: LQ float32 RGB ``(T, 3, h, w)`` in [0, 1] on the device; all that ``span`` needs.
            span: the chunk's output frames, counted from the first of ``frames``.
            scale: φs.
            time_scale: φt.
            draw: makes the noise.

        Returns:
            The decoded video ``(len(span), 3, H, W)`` in the VAE's dtype, about [-1, 1].
        """
        height, width = (scaled_side(side, scale) for side in frames.shape[-2:])
        padding = padding_of(len(span), height, width)
        latents = []
        for make in (initial_video, residual_video):
            with self.using("prepare", None):
                video = make(frames, span, scale, time_scale, padding, self.vae_dtype)
            latents.append(self.sample(self.encode(video), draw))
            del video
        count = latents[0].shape[2]
        hidden, masked = (self.extend(each) for each in latents)
        stepped = self.step(self.velocity(hidden, masked), hidden)
        return unpad(self.decode(self.restrict(stepped, count)), padding)[0].transpose(0, 1)

    def encode(self, video: Tensor) -> Tensor:
        """The moments ``(1, 2C, t, H/8, W/8)``, mean and log-variance, of a padded video ``(1, 3, T, H, W)``."""
        with self.using("encode", "vae") as vae:
            moments: Tensor = vae.encode(video).latent_dist.parameters
        return moments

    def sample(self, moments: Tensor, draw: Draw) -> Tensor:
        """Latents ``(1, C, t, h, w)`` of moments, scaled in the VAE's dtype."""
        posterior = DiagonalGaussianDistribution(moments)
        latents: Tensor = posterior.mean
        if self.sampling.posterior == "sample":
            latents = latents + posterior.std * draw(latents.shape).to(latents)
        return latents * self.scaling_factor

    def extend(self, latents: Tensor) -> Tensor:
        """The transformer's form ``(1, F, C, h, w)``, the first frame repeated until patches in time divide them."""
        frames = latents.to(self.dtype).transpose(1, 2)
        missing = -frames.shape[1] % (self.transformer["patch_size_t"] or 1)
        return torch.cat([frames[:, :1]] * missing + [frames], dim=1)

    def velocity(self, hidden: Tensor, masked: Tensor) -> Tensor:
        """The transformer's answer to the latents of the initial and of the residual video, all of one shape."""
        with self.using("transformer", "transformer") as transformer:
            _, frames, _, height, width = hidden.shape
            rope = rope_tables(self.transformer, frames, height, width, hidden.device)
            time = None if self.prompt is None else timestep(hidden.device)
            velocity: Tensor = transformer(hidden, self.prompt, masked, time, rope)
        return velocity

    def step(self, velocity: Tensor, hidden: Tensor) -> Tensor:
        """One step from :data:`TIMESTEP` to the end, in the latents' form and dtype."""
        return one_step(self.scheduler, velocity, hidden, timestep(hidden.device), self.sampling.step)

    def restrict(self, stepped: Tensor, count: int) -> Tensor:
        """The decoder's input ``(1, C, count, h, w)``: without what :meth:`extend` put in front, unscaled."""
        return stepped[:, stepped.shape[1] - count :].to(self.vae_dtype).transpose(1, 2) / self.scaling_factor

    def decode(self, latents: Tensor) -> Tensor:
        """The padded video ``(1, 3, T, H, W)``."""
        with self.using("decode", "vae") as vae:
            video: Tensor = vae.decode(latents).sample
        return video


def timestep(device: torch.device) -> Tensor:
    """:data:`TIMESTEP` as the networks want it: int64 ``(1,)``."""
    return torch.full((1,), TIMESTEP, dtype=torch.int64, device=device)


def one_step(
    scheduler: CogVideoXDPMScheduler, velocity: Tensor, hidden: Tensor, timesteps: Tensor, step: Step = "official"
) -> Tensor:
    """Return ``√α·hidden - √(1 - α)·velocity``, all ``(B, …)`` of one dtype, with α of each item's timestep ``(B,)``.

    The scheduler's formula for the velocity, with both roles exchanged, says just this.
    """
    dtype = torch.float32 if step == "float32" else velocity.dtype
    stepped: Tensor = scheduler.get_velocity(velocity.to(dtype), hidden.to(dtype), timesteps)  # type: ignore[arg-type]
    return stepped.to(velocity.dtype)
