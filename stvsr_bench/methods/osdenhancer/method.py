"""OSDEnhancer as a method: its options, its parameters, and clips of any length in chunks."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from stvsr_bench.core.errors import ConfigError
from stvsr_bench.core.seeding import derive_seed
from stvsr_bench.methods.base import Report, Request
from stvsr_bench.methods.diffusion import DiffusionMethod, Geometry, Mode, Part, watched
from stvsr_bench.methods.osdenhancer.configs import RELEASED, TINY
from stvsr_bench.methods.osdenhancer.options import check_choice, checked_chunks, checked_tile
from stvsr_bench.methods.osdenhancer.preparation import finished, needed, padding_of, plan_chunks
from stvsr_bench.methods.splitting import read_forward
from stvsr_bench.nn.windows import Span, keep_ranges
from stvsr_bench.video.clip import Clip, Frames
from stvsr_bench.video.color import to_float, to_uint8

if TYPE_CHECKING:
    from stvsr_bench.methods.osdenhancer.checkpoint import Checkpoint, DcnWeights
    from stvsr_bench.methods.osdenhancer.pipeline import OneStep, Posterior, Step
    from stvsr_bench.methods.osdenhancer.transformer import STVSRTransformer
    from stvsr_bench.methods.osdenhancer.vae import STVSRVae

WEIGHT = "osdenhancer/official"
BLOCK_PIXELS = 16_000_000
"""Most output pixels that are rounded and given out at once."""


class OSDEnhancer(DiffusionMethod):
    """One-step space-time super-resolution by a video diffusion transformer (CogVideoX1.5-5B).

    The clip is blended to the output's frame rate and enlarged; one step of the transformer, in latents, then adds
    detail, more of it where the frames move. Defaults are those of the official code.

    Source: «OSDEnhancer: Taming Real-World Space-Time Video Super-Resolution with One-Step Diffusion», arXiv
    2601.20308, and its official code (commit 64dd6e5). Unlike there, single frames, chunks of one frame and seeds work.

    Args:
        memory: see :class:`~stvsr_bench.methods.diffusion.DiffusionMethod`.
        compile: likewise.
        checkpoint: folder in the official layout that takes the place of the published parameters.
        chunk_length: output frames restored together, ``8·N + 1``; ``None``: all of the clip's. Chunks know nothing of
            one another, and the earlier one wins where they overlap.
        overlap: output frames that neighbouring chunks share at least; without effect where there is one chunk.
        vae_tile: height and width of the VAE's tiles in pixels; ``None``: half the sample size that the checkpoint
            states. Smaller ones need less memory.
        posterior: ``sample`` draws latents around what the VAE encodes; ``mean`` takes the middle, as the paper reads.
        apply_te: add the stored texture adapters to the weights, which the official code does not.
        dcn_weights: ``rounded``: deformable convolutions have their weights rounded to the run's dtype, as the official
            code has by its order of casts; ``float32``: as they are stored.
        step: ``official`` rounds the noise level to the run's dtype before the step; ``float32`` does not.
    """

    task = "stvsr"
    fractional_scales = True
    memory_option = "method.vae_tile or method.chunk_length"

    def __init__(
        self,
        *,
        name: str,
        memory: str = "auto",
        compile: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        chunk_length: int | None = None,
        overlap: int = 1,
        vae_tile: Sequence[int] | None = None,
        posterior: Posterior = "sample",
        apply_te: bool = False,
        dcn_weights: DcnWeights = "rounded",
        step: Step = "official",
        scale: float | None = None,
        time_scale: int | None = None,
        preset: str | None = None,
        allow_untrained: bool = False,
    ) -> None:
        super().__init__(
            name=name,
            memory=memory,
            compile=compile,
            scale=scale,
            time_scale=time_scale,
            preset=preset,
            allow_untrained=allow_untrained,
        )
        for knob, value, accepted in (
            ("posterior", posterior, ("sample", "mean")),
            ("dcn_weights", dcn_weights, ("rounded", "float32")),
            ("step", step, ("official", "float32")),
            ("apply_te", apply_te, (True, False)),
        ):
            check_choice(name, knob, value, accepted)
        self.posterior, self.apply_te, self.dcn_weights, self.step = posterior, apply_te, dcn_weights, step
        self.checkpoint = self.own_checkpoint(checkpoint)
        self.chunk_length, self.overlap = checked_chunks(name, chunk_length, overlap)
        self.vae_tile = checked_tile(name, vae_tile)
        self._configs = RELEASED
        self._prompt: Tensor | None = None
        self._words = 0
        self._notes: list[str] = []
        self._texture: dict[str, Any] | None = None

    # ------------------------------------------------------------------ identity

    @property
    def weights(self) -> Sequence[str]:
        """The published checkpoint, unless a folder takes its place."""
        return () if self.checkpoint is not None else (WEIGHT,)

    def weights_hashes(self) -> dict[str, str]:
        """Hash of the published checkpoint, or of the files in the folder that takes its place."""
        return super().weights_hashes() if self.checkpoint is None else dict([self._own_weight])

    def knobs(self) -> dict[str, Any]:
        """As for every method; a folder is known by what it holds, not by where it lies."""
        if self.checkpoint is None:
            return super().knobs()
        weight, found = self._own_weight
        return super().knobs() | {"checkpoint": None if weight == WEIGHT else found[:12]}

    @cached_property
    def _own_weight(self) -> tuple[str, str]:
        """Name and hash of what the folder named by ``checkpoint`` holds; the published files keep their name."""
        from stvsr_bench.weights import service
        from stvsr_bench.weights.download import Silent
        from stvsr_bench.weights.folder import hash_folder

        checkpoint = self._opened()
        found = hash_folder(checkpoint.folder, checkpoint.files, Silent())
        return (WEIGHT if found == service.weight_hash(WEIGHT) else "checkpoint", found)

    def _opened(self) -> Checkpoint:
        """The checkpoint: the folder that was named, or the published one, fetched where it is absent."""
        from stvsr_bench.methods.osdenhancer.checkpoint import open_checkpoint
        from stvsr_bench.weights import service

        return open_checkpoint(Path(self.checkpoint) if self.checkpoint is not None else service.weight_folder(WEIGHT))

    # ------------------------------------------------------------------ life cycle

    def setup(self, device: torch.device | str = "cpu", dtype: str = "float32") -> None:
        """Build both networks and load their parameters, on the CPU; a plan brings them to ``device``."""
        super().setup(device, dtype)
        from stvsr_bench.methods.osdenhancer.deformable import DeformableConv
        from stvsr_bench.methods.osdenhancer.pipeline import timestep
        from stvsr_bench.methods.osdenhancer.transformer import STVSRTransformer
        from stvsr_bench.methods.osdenhancer.vae import STVSRVae

        checkpoint = None if self.untrained else self._opened()
        if checkpoint is not None:
            self._configs = checkpoint.configs
        else:
            self._configs = TINY if self.preset == "tiny" else RELEASED
        with torch.device("meta"):
            transformer = STVSRTransformer.from_config(self._configs.transformer, optimised=self.optimised)
            vae = STVSRVae.from_config(self._configs.vae, optimised=self.optimised)
        if checkpoint is not None:
            texture = checkpoint.load_transformer(transformer, self.dtype, apply_te=self.apply_te, device=self.device)
            checkpoint.load_vae(vae, self.dtype, dcn_weights=self.dcn_weights)
            prompt = checkpoint.load_prompt(self.dtype)
            self._texture = {"outcome": texture.outcome, "layers": texture.layers, "median": texture.median}
            self._notes = [*checkpoint.notes, texture.text]
        else:
            prompt = self._stand_in(transformer, vae)
        vae.enable_tiling(*(self.vae_tile or ()))
        self._prompt, self._words = prompt.to(self.device), prompt.shape[1]
        if self.optimised:
            time = timestep(self.device)
            transformer.prepare_constants(self._prompt, time, self.dtype, device=self.device, drop=True)
            self._prompt = None
        deformable = [module for module in vae.modules() if isinstance(module, DeformableConv)]
        self.hold(
            Part("transformer", transformer, self.dtype, blocks=list(transformer.transformer_blocks)),
            Part("vae", vae, self.dtype, exact=deformable, compiled=()),
        )

    def _stand_in(self, transformer: STVSRTransformer, vae: STVSRVae) -> Tensor:
        """Give both networks seeded parameters; return a seeded prompt ``(1, L, text_dim)``.

        Raises:
            ConfigError: ``apply_te``, which takes published parameters.
        """
        if self.apply_te:
            raise ConfigError(
                f"method '{self.name}': apply_te adds stored adapters to published parameters",
                got="an untrained network, which has none",
                accepted="apply_te=false",
            )
        self.seeded(transformer, self.dtype, "osdenhancer", "transformer")
        self.seeded(vae, self.dtype, "osdenhancer", "vae")
        if self.dcn_weights == "rounded":
            vae.round_dcn_weights(self.dtype)
        generator = torch.Generator().manual_seed(derive_seed(0, "osdenhancer", "prompt"))
        return torch.randn(1, *self._configs.prompt_shape, generator=generator).to(self.dtype)

    def part_dtypes(self) -> dict[str, torch.dtype]:
        """Both networks in the run's dtype; what rounding would show most in float32."""
        exact = torch.float32
        step = exact if self.step == "float32" else self.dtype
        return {
            "preparation": exact,
            "vae": self.dtype,
            "vae.deformable": exact,
            "transformer": self.dtype,
            "transformer.positions": exact,
            "step": step,
            "output": exact,
        }

    def working_bytes(self, part: str, geometry: Geometry, mode: Mode) -> int:
        """See :mod:`~stvsr_bench.methods.osdenhancer.demand`."""
        from stvsr_bench.methods.osdenhancer.demand import transformer_bytes, vae_bytes
        from stvsr_bench.methods.osdenhancer.transformer_config import TransformerConfig

        frame = (geometry.frames, geometry.height, geometry.width)
        size = self.dtype.itemsize
        if part == "transformer":
            config = TransformerConfig.of(self._configs.transformer)
            return transformer_bytes(config, *frame, self._words, size, optimised=self.optimised)
        channels = tuple(self._configs.vae["block_out_channels"])
        kept = mode == "normal"
        return vae_bytes(channels, self._tile(), *frame, size, kept=kept, optimised=self.optimised)

    def _tile(self) -> tuple[int, int]:
        """Height and width of the VAE's tiles, pixels."""
        if self.vae_tile is not None:
            return self.vae_tile[0], self.vae_tile[1]
        return int(self._configs.vae["sample_height"]) // 2, int(self._configs.vae["sample_width"]) // 2

    # ------------------------------------------------------------------ restoration

    def restore_stream(self, clip: Clip, request: Request, report: Report) -> Iterator[Frames]:
        """Restore chunk after chunk; the clip is read forwards, and only LQ frames that chunks share are kept."""

        def read(spans: Sequence[Span]) -> Iterator[Tensor]:
            return (to_float(frames.to(self.device)) for frames in read_forward(clip, spans))

        step = max(1, BLOCK_PIXELS // math.prod(request.size(clip.height, clip.width)))
        for video in self._restored(read, len(clip), (clip.height, clip.width), request, report):
            for start in range(0, len(video), step):
                with self.timed(report, "finish"):
                    block = to_uint8(finished(video[start : start + step])).cpu()
                yield block

    def restore_float(self, frames: Tensor, request: Request) -> Tensor:
        """The whole clip at once: float32 RGB in [0, 1], on the device ``frames`` are on."""
        return self._whole(frames, request, Report())

    def rehearse(self, frames: Tensor, request: Request, report: Report) -> None:
        """As for every diffusion method, stage by stage."""
        self._whole(frames, request, report)

    def _whole(self, frames: Tensor, request: Request, report: Report) -> Tensor:
        def read(spans: Sequence[Span]) -> Iterator[Tensor]:
            return (frames[span.start : span.stop].to(self.device) for span in spans)

        size = (frames.shape[-2], frames.shape[-1])
        videos = self._restored(read, len(frames), size, request, report)
        return torch.cat([finished(video).to(frames.device) for video in videos])

    def _restored(
        self,
        read: Callable[[Sequence[Span]], Iterator[Tensor]],
        count: int,
        size: tuple[int, int],
        request: Request,
        report: Report,
    ) -> Iterator[Tensor]:
        """What each chunk contributes, as the VAE decodes it: ``(t, 3, H, W)`` in its dtype, about [-1, 1].

        Args:
            read: gives the LQ frames, float32 in [0, 1] on the device, of each span.
            count: number of LQ frames.
            size: their height and width.
            request: the factors and the seed.
            report: filled.
        """
        chunks = plan_chunks((count - 1) * request.time_scale + 1, self.chunk_length, self.overlap)
        kept = keep_ranges(chunks, "drop_head")
        sources = [needed(chunk, request.time_scale) for chunk in chunks]
        self._announce(chunks, kept, request.size(*size), report)
        generator = self.generator(request)
        for number, (frames, chunk, source, keep) in enumerate(zip(read(sources), chunks, sources, kept, strict=True)):
            where = f"chunk {number + 1} of {len(chunks)}: " if len(chunks) > 1 else ""
            pipeline = self._pipeline(report, where)
            first = source.start * request.time_scale
            span = Span(chunk.start - first, chunk.stop - first)
            draw = partial(torch.randn, generator=generator)
            work = partial(pipeline, frames, span, request.scale, request.time_scale, draw)
            video = self.attempt(report, work, generator)
            yield video[keep.start - chunk.start : keep.stop - chunk.start]

    def _announce(self, chunks: list[Span], kept: list[Span], size: tuple[int, int], report: Report) -> None:
        """Choose a memory mode for the largest chunk, and say in the report what will be done."""
        padding = padding_of(len(chunks[0]), *size)
        padded = (size[0] + padding.top + padding.bottom, size[1] + padding.left + padding.right)
        self.plan_memory(Geometry(len(chunks[0]) + padding.frames, *padded), report)
        tile = self._tile()
        report.plan.update(
            chunk=len(chunks[0]),
            windows=len(chunks),
            starts=[chunk.start for chunk in chunks],
            kept=[len(keep) for keep in kept],
            padding=asdict(padding),
            tile=list(tile) if padded[0] > tile[0] or padded[1] > tile[1] else None,
            texture=self._texture,
            weights=self.weights_hashes(),
        )
        report.notes.extend(note for note in self._notes if note not in report.notes)

    def _pipeline(self, report: Report, where: str) -> OneStep:
        """The arithmetic of one chunk, with this method's networks, timed and watched."""
        from stvsr_bench.methods.osdenhancer.pipeline import OneStep, Sampling

        return OneStep(
            partial(self._stage, report, where),
            self._prompt,
            self._configs,
            self.part_dtypes(),
            Sampling(self.posterior, self.step),
        )

    @contextmanager
    def _stage(self, report: Report, where: str, stage: str, part: str | None) -> Iterator[nn.Module | None]:
        """One stage of a chunk, with the network that it needs."""
        if part is None:
            with self.timed(report, stage):
                yield None
            return
        with self.using(part, report, stage) as module:
            network: Any = module
            if part == "vae":
                network.offload_tiles = self.memory_mode != "normal"
                network.progress = partial(self.tell, report, f"{where}{stage} pieces")
                try:
                    yield network
                finally:
                    network.progress = None
            else:
                with watched(network.transformer_blocks, partial(self.tell, report, f"{where}{stage} blocks")):
                    yield network
