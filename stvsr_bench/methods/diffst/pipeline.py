"""What DiffST does to one clip: aggregation and guidance from all keyframes, one step in latents for each piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from stvsr_bench.methods.base import Report
from stvsr_bench.methods.diffst.flow import KeyFlow, KeyMotion, RaftFlow, key_motions
from stvsr_bench.methods.diffst.frames import output_frames
from stvsr_bench.methods.diffst.guidance import keyframe_indices
from stvsr_bench.methods.diffst.parts import Networks
from stvsr_bench.methods.diffst.standardise import Standardise
from stvsr_bench.methods.diffst.step import OneStep
from stvsr_bench.methods.diffusion import DiffusionMethod, watched


class Pipeline:
    """DiffST on one clip.

    Source: DiffST (arXiv 2605.13182), figure 2 and equations 2 to 6.

    Args:
        method: gives the networks while they are needed.
        networks: all of them.
        report: filled.
        one_step: the step.
        latent_scale: between the VAE's latents and the transformer's.
        posterior: ``mean`` or ``sample``.
        key_updates: of RAFT.
        vae_tile: height of a piece → side and stride of the VAE's tiles in it, pixels.
        generator: draws where ``posterior`` is ``sample``.

    Attributes:
        where: what progress names before the stage.
    """

    def __init__(
        self,
        method: DiffusionMethod,
        networks: Networks,
        report: Report,
        *,
        one_step: OneStep,
        latent_scale: Standardise,
        posterior: str,
        key_updates: int,
        vae_tile: Callable[[int], tuple[int | None, int]],
        generator: torch.Generator,
    ) -> None:
        self.method, self.networks, self.report = method, networks, report
        self.one_step, self.latent_scale, self.posterior = one_step, latent_scale, posterior
        self.key_updates, self.vae_tile, self.generator = key_updates, vae_tile, generator
        self.where = ""

    @torch.no_grad()
    def aggregate(self, keyframes: Tensor, time_scale: int) -> Tensor:
        """Return all frames at the size of the input, ``(φt·(n - 1) + 1, 3, h, w)``, on the device of ``keyframes``.

        Args:
            keyframes: float32 RGB ``(n, 3, h, w)`` in [0, 1].
            time_scale: φt.
        """
        networks, method = self.networks, self.method
        motions: list[KeyMotion] | None = None
        if networks.cfca.mode == "flow_multi" and len(keyframes) > 1:
            with method.using("cfca" if networks.raft is None else "flow", self.report, "flow"):
                motions = key_motions(keyframes, self._key_flow(), method.device)
        pieces: list[Tensor] = []
        total = output_frames(len(keyframes), time_scale)
        with method.using("cfca", self.report):
            for piece in networks.cfca.stream(keyframes, time_scale, motions):
                pieces.append(piece)
                method.tell(self.report, "aggregate frames", sum(map(len, pieces)), total)
        return torch.cat(pieces)

    def _key_flow(self) -> KeyFlow:
        if self.networks.raft is not None:
            return RaftFlow(self.networks.raft, self.key_updates, optimised=self.method.optimised)
        assert self.networks.cfca.flow is not None  # the mode that needs flow has it
        return self.networks.cfca.flow

    @torch.no_grad()
    def context(self, keyframes: Tensor) -> Tensor:
        """Return what guides the transformer, ``(1, L, D)`` on the device, from the whole clip.

        Args:
            keyframes: float32 RGB ``(n, 3, h, w)`` in [0, 1].
        """
        networks, method = self.networks, self.method
        features: Tensor | None = None
        if networks.dape is not None:
            indices = keyframe_indices(len(keyframes), networks.guidance.feature_shape[0])
            chosen = sorted(set(indices))
            with method.using("dape", self.report) as dape:
                # one at a time in every memory mode: in a batch the same frame may round differently
                found: Tensor = dape(keyframes[chosen].to(method.device), at_once=1)
            features = found[[chosen.index(index) for index in indices]][None]
        prompt = None if networks.prompt is None else networks.prompt.to(method.device, method.dtype)
        with method.using("guidance", self.report) as guidance:
            context: Tensor = guidance(features, prompt)
        return context

    @torch.no_grad()
    def diffuse(self, video: Tensor, context: Tensor) -> Tensor:
        """Restore one piece: ``(1, 3, 4m + 1, H, W)`` about [-1, 1] to the same, sides multiples of 16.

        Args:
            video: enlarged and padded, on any device, in the run's dtype.
            context: see :meth:`context`.
        """
        video = video.to(self.method.device)
        with self._coding("encode", video.shape[-2]) as vae:
            moments: Tensor = vae.moments(video)
        latents = self.latent_scale(self._latents(moments))
        with self.method.using("transformer", self.report) as module:
            network: Any = module
            told = partial(self.method.tell, self.report, f"{self.where}transformer blocks")
            with watched(network.blocks, told):
                restored = self.one_step(network, latents, context)
        with self._coding("decode", video.shape[-2]) as vae:
            out: Tensor = vae.decode(self.latent_scale.inverse(restored).to(self.method.dtype)).sample
        return out

    def _latents(self, moments: Tensor) -> Tensor:
        """The VAE's latents, float32: the middle of the posterior, or drawn from it."""
        mean, log_variance = moments.float().chunk(2, dim=1)
        if self.posterior == "mean":
            return mean
        noise = torch.randn(mean.shape, generator=self.generator).to(mean.device)
        return mean + (0.5 * log_variance.clamp(-30, 20)).exp() * noise  # the limits are diffusers'

    @contextmanager
    def _coding(self, stage: str, height: int) -> Iterator[Any]:
        """The VAE, for one stage of a piece of ``height``."""
        with self.method.using("vae", self.report, stage) as module:
            vae: Any = module
            vae.tile(*self.vae_tile(height))
            away = self.method.memory_mode != "normal"
            vae.output_device = torch.device("cpu") if away else None
            vae.progress = partial(self.method.tell, self.report, f"{self.where}{stage} pieces")
            try:
                yield vae
            finally:
                vae.progress = None
