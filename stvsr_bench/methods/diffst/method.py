"""DiffST as a method: its options, its parameters, and clips of any length in chunks and tiles."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stvsr_bench.core.errors import ConfigError, MethodError, WeightError
from stvsr_bench.methods.base import Report, Request
from stvsr_bench.methods.diffst import settings
from stvsr_bench.methods.diffst.frames import (
    SIDE_MULTIPLE,
    TIME_MULTIPLE,
    PadMode,
    Tail,
    Upsample,
    enlarged,
    output_frames,
    padded,
)
from stvsr_bench.methods.diffst.step import SIGMA, TIMESTEP, OneStep, latent_scale
from stvsr_bench.methods.diffusion import DiffusionMethod, Geometry, Mode, Part
from stvsr_bench.nn.padding import padded_length
from stvsr_bench.nn.windows import Span, merge_stream, merge_tiles, plan_spans
from stvsr_bench.video.clip import Clip, Frames
from stvsr_bench.video.color import to_float, to_uint8
from stvsr_bench.weights import service

if TYPE_CHECKING:
    from stvsr_bench.methods.diffst.checkpoint import Trained
    from stvsr_bench.methods.diffst.parts import Networks
    from stvsr_bench.methods.diffst.pipeline import Pipeline

BLOCK_PIXELS = 16_000_000
"""Most output pixels that are rounded and given out at once."""
TALLEST = 1024
"""Output height above which the VAE codes tiles by itself, as InfVSR has it."""
VAE_TILE, VAE_STRIDE = 1024, 880
"""Of those tiles, in pixels."""
TINY_UPDATES = 2
"""Most updates of RAFT in the tiny preset: it has no toy width."""


class DiffST(DiffusionMethod):
    """One-step space-time super-resolution by a video diffusion transformer (Wan2.1-T2V-1.3B), from the paper.

    Keyframes are joined by flow with what later and earlier ones show (CFCA), enlarged and encoded; one step of the
    transformer, guided by the keyframes' image embeddings (VRG), takes the latents to those of the restored video.

    Source: «DiffST: Spatiotemporal-Aware Diffusion for Real-World Space-Time Video Super-Resolution», arXiv 2605.13182.
    There is no official code; which choices are the paper's and which ours stands in ``methods/diffst/README.md``.

    Args:
        memory: see :class:`~stvsr_bench.methods.diffusion.DiffusionMethod`.
        compile: likewise.
        checkpoint: file or folder with trained parameters; ``None``: the published ones, which do not exist yet.
        cfca: options of :data:`~stvsr_bench.methods.diffst.settings.CFCA`: how frames between keyframes are made.
        vrg: options of :data:`~stvsr_bench.methods.diffst.settings.VRG`: what guides the transformer.
        upsample: ``bilinear`` or ``bicubic``.
        pad_mode: ``replicate`` extends the enlarged video by its edge to multiples of 16; ``zeros`` extends the small
            frames with black.
        tail: ``crop`` ends at the last keyframe; ``repeat`` shows the networks its repetitions after it, too, which
            are cut off again.
        posterior: ``mean`` takes the middle of what the VAE encodes; ``sample`` draws around it.
        timestep: what the transformer is told.
        sigma: the share of noise that belongs to ``timestep``; stored, not computed.
        prompt: the fixed text.
        chunk_length: output frames restored together, ``4·m + 1``; ``None``: all.
        chunk_overlap: output frames that neighbouring chunks share; the change-over is in their middle.
        tile: options of :data:`~stvsr_bench.methods.diffst.settings.TILE`.
        vae_tile: ``auto``: the VAE codes tiles of 1024 pixels in frames taller than that; ``none``: never; or the side
            of its tiles, pixels.
    """

    task = "stvsr"
    usual_factors = (4, 4)
    memory_option = "method.tile.size or method.chunk_length"

    def __init__(
        self,
        *,
        name: str,
        memory: str = "auto",
        compile: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        cfca: Mapping[str, Any] = settings.CFCA,
        vrg: Mapping[str, Any] = settings.VRG,
        upsample: Upsample = "bilinear",
        pad_mode: PadMode = "replicate",
        tail: Tail = "crop",
        posterior: str = "mean",
        timestep: float = TIMESTEP,
        sigma: float = SIGMA,
        prompt: str = "",
        chunk_length: int | None = None,
        chunk_overlap: int = 9,
        tile: Mapping[str, Any] = settings.TILE,
        vae_tile: int | str = "auto",
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
        self.checkpoint = self.own_checkpoint(checkpoint)
        self.cfca = settings.group(name, "cfca", cfca, settings.CFCA)
        self.vrg = settings.group(name, "vrg", vrg, settings.VRG)
        self.tile = settings.group(name, "tile", tile, settings.TILE)
        named = {"upsample": upsample, "pad_mode": pad_mode, "tail": tail, "posterior": posterior}
        for knob, value in named.items():
            settings.check(name, knob, value, None)
        self.upsample, self.pad_mode, self.tail, self.posterior = upsample, pad_mode, tail, posterior
        self.one_step = OneStep(timestep, sigma)
        self.timestep, self.sigma = timestep, sigma
        if not isinstance(prompt, str):
            raise ConfigError(
                f"method '{name}': prompt is a text", got=repr(prompt), accepted="a text, also an empty one"
            )
        self.prompt = prompt
        settings.check_chunks(name, chunk_length, chunk_overlap)
        self.chunk_length, self.chunk_overlap = chunk_length, chunk_overlap
        settings.check_tiles(name, self.tile, vae_tile)
        self.vae_tile = vae_tile
        self._networks: Networks | None = None
        self._factor = 4.0

    # ------------------------------------------------------------------ identity

    @property
    def weights(self) -> Sequence[str]:
        """The published parameters that the options need."""
        from stvsr_bench.methods.diffst.parts import needed_weights

        return needed_weights(self.cfca, self.vrg, self._trained)

    @cached_property
    def untrained(self) -> bool:
        """Whether what the paper trains is not trained: always in the tiny preset, and until weights are published.

        With ``allow_untrained`` the published parameters of Wan, RAFT, IFNet_m and DAPE are used where they are present
        already; what the paper trains starts as it would in training.
        """
        if self.preset == "tiny":
            return True
        absent = any(service.state(weight) == "absent" for weight in self.weights)
        return self.allow_untrained and (absent or bool(self._lacking))

    @cached_property
    def _trained(self) -> Trained | None:
        """The checkpoint that was named, opened."""
        from stvsr_bench.methods.diffst.checkpoint import open_trained

        return None if self.checkpoint is None else open_trained(Path(self.checkpoint))

    @property
    def _lacking(self) -> list[str]:
        """What of the parts that the paper trains, and that the options use, the checkpoint does not hold."""
        if self._trained is None:
            return []
        unused = {"cfca.psi.": self.cfca["mode"] != "flow_multi", "vrg.": self.vrg["guidance"] == "text"}
        return [group for group in self._trained.lacking if not unused.get(group, False)]

    def weights_hashes(self) -> dict[str, str]:
        """Hash of each set of parameters in use, and of the checkpoint."""
        if self.preset == "tiny":
            return {}
        used = [w for w in self.weights if not self.untrained or service.state(w) == "present"]
        own = {} if self.checkpoint is None else {"checkpoint": self._fingerprint}
        return own | {weight: service.weight_hash(weight) for weight in used}

    def knobs(self) -> dict[str, Any]:
        """As for every method; a checkpoint is known by what it holds, not by where it lies."""
        return super().knobs() | ({} if self.checkpoint is None else {"checkpoint": self._fingerprint[:12]})

    @cached_property
    def _fingerprint(self) -> str:
        from stvsr_bench.methods.diffst.checkpoint import checkpoint_files
        from stvsr_bench.weights.download import Silent
        from stvsr_bench.weights.folder import file_sha256, folder_hash

        root = Path(str(self.checkpoint))
        named = {str(f.relative_to(root)) if root.is_dir() else "": f for f in checkpoint_files(root)}
        return folder_hash({name: file_sha256(file, Silent()) for name, file in named.items()})

    # ------------------------------------------------------------------ life cycle

    def setup(self, device: torch.device | str = "cpu", dtype: str = "float32") -> None:
        """Build every network and load what there is of parameters, on the CPU; a plan brings them to ``device``."""
        super().setup(device, dtype)
        from stvsr_bench.methods.diffst.checkpoint import open_trained
        from stvsr_bench.methods.diffst.parts import OFFICIAL, Builder
        from stvsr_bench.methods.diffst.wan import exact_parts

        if self._lacking and not self.untrained:
            raise WeightError(
                f"method '{self.name}': the checkpoint '{self.checkpoint}' is not all of DiffST",
                got=f"nothing of {', '.join(self._lacking)}",
                accepted="trained parameters of every part that the options use",
                action="add method.allow_untrained=true, which starts those parts as in training and marks the result",
            )
        # the official file where it is there; where it has to be and is not, the service says what is missing
        official = self.preset != "tiny" and (not self.untrained or service.state(OFFICIAL) == "present")
        fetched = service.fetch_weight(OFFICIAL) if self.checkpoint is None and official else None
        networks = Builder(
            cfca=self.cfca,
            vrg=self.vrg,
            prompt=self.prompt,
            tiny=self.preset == "tiny",
            untrained=self.untrained,
            trained=self._trained if fetched is None else open_trained(fetched),
            dtype=self.dtype,
            optimised=self.optimised,
            seeded=lambda module, kind, name: self.seeded(module, kind, "diffst", name),
        ).build()
        self._networks = networks
        self._scale = latent_scale(networks.vae_config)
        exact, layout = torch.float32, torch.channels_last_3d if self.device.type == "cuda" else torch.preserve_format
        transformer = networks.transformer
        parts = [
            Part("cfca", networks.cfca, self.dtype, exact=[networks.cfca.ifnet] if networks.cfca.ifnet else []),
            Part("guidance", networks.guidance, self.dtype),
            Part("vae", networks.vae, self.dtype, layout=layout, compiled=()),
            Part(
                "transformer", transformer, self.dtype, blocks=list(transformer.blocks), exact=exact_parts(transformer)
            ),
        ]
        if networks.raft is not None:
            parts.append(Part("flow", networks.raft, exact, compiled=()))
        if networks.dape is not None:
            parts.append(Part("dape", networks.dape, self.dtype, compiled=()))
        self.hold(*parts)

    def close(self) -> None:
        """Give back the networks."""
        super().close()
        self._networks = None

    def part_dtypes(self) -> dict[str, torch.dtype]:
        """Flow, warping, latents and the step in float32; the other networks in the run's dtype."""
        exact = torch.float32
        return {
            "flow": exact,
            "cfca": self.dtype,
            "cfca.ifnet": exact,
            "dape": self.dtype,
            "guidance": self.dtype,
            "vae": self.dtype,
            "transformer": self.dtype,
            "transformer.norms": exact,
            "step": exact,
            "output": exact,
        }

    def working_bytes(self, part: str, geometry: Geometry, mode: Mode) -> int:
        """See :mod:`~stvsr_bench.methods.diffst.demand`."""
        from stvsr_bench.methods.diffst.demand import working_bytes

        networks = self._ready()
        return working_bytes(
            part,
            (geometry.frames, geometry.height, geometry.width),
            self._factor,
            self.dtype.itemsize,
            networks.transformer.config,
            networks.vae_config,
            dape=(1, *networks.dape_size),
            vae_tile=self._vae_tile(geometry.height)[0],
            psi_width=0 if networks.cfca.psi is None else networks.cfca.psi.first.out_channels,
            kept=mode == "normal",
        )

    def _ready(self) -> Networks:
        if self._networks is None:
            raise MethodError(f"method '{self.name}' is not set up", action="call setup(device, dtype) first")
        return self._networks

    def _vae_tile(self, height: int) -> tuple[int | None, int]:
        """Side and stride of the VAE's tiles for frames of ``height``, pixels."""
        if self.vae_tile == "none" or (self.vae_tile == "auto" and height <= TALLEST):
            return None, 0
        if self.vae_tile == "auto":
            return VAE_TILE, VAE_STRIDE
        return int(self.vae_tile), int(self.vae_tile) * 3 // 4 // SIDE_MULTIPLE * SIDE_MULTIPLE

    # ------------------------------------------------------------------ restoration

    def restore_stream(self, clip: Clip, request: Request, report: Report) -> Iterator[Frames]:
        """Aggregate and guide from the whole clip, then restore chunk after chunk; the clip is read once."""
        keyframes = to_float(clip[0 : len(clip)])
        step = max(1, BLOCK_PIXELS // (clip.height * clip.width * int(request.scale) ** 2))
        for video in self._restored(keyframes, request, report):
            for start in range(0, len(video), step):
                with self.timed(report, "finish"):
                    block = to_uint8(finished(video[start : start + step])).cpu()
                yield block

    def restore_float(self, frames: Tensor, request: Request) -> Tensor:
        """The whole clip at once: float32 RGB in [0, 1], on the device ``frames`` are on."""
        videos = self._restored(frames, request, Report())
        return torch.cat([finished(video).to(frames.device) for video in videos])

    def rehearse(self, frames: Tensor, request: Request, report: Report) -> None:
        """Pass ``frames`` on the meta device through every part: work is counted, not done."""
        for _ in self._restored(frames, request, report):
            pass

    def _restored(self, keyframes: Tensor, request: Request, report: Report) -> Iterator[Tensor]:
        """The restored video piece by piece, ``(t, 3, H, W)`` about [-1, 1].

        Args:
            keyframes: float32 RGB ``(n, 3, h, w)`` in [0, 1], on the CPU.
            request: the factors and the seed.
            report: filled.
        """
        height, width = request.size(keyframes.shape[-2], keyframes.shape[-1])
        total = output_frames(len(keyframes), request.time_scale)
        seen = output_frames(len(keyframes), request.time_scale, self.tail)  # what is after the last keyframe is cut
        chunks = _chunks(seen, self.chunk_length, self.chunk_overlap)
        rows, columns = self._tiles(height, 0), self._tiles(width, 1)
        self._announce(chunks, rows, columns, request, report)
        pipeline = self._pipeline(request, report)
        frames = self.attempt(report, lambda: pipeline.aggregate(keyframes, request.time_scale))
        context = self.attempt(report, lambda: pipeline.context(keyframes))
        frames = torch.cat([frames, frames[-1:].expand(seen - total, -1, -1, -1)])
        alone = len(rows) == len(columns) == 1

        def tile(video: Tensor, row: Span, column: Span) -> Tensor:
            piece = video[..., row.start : row.stop, column.start : column.stop]
            work = partial(pipeline.diffuse, piece, context)
            return self.attempt(report, work, pipeline.generator)[0].transpose(0, 1)

        def blocks() -> Iterator[Tensor]:
            for number, chunk in enumerate(chunks, 1):
                pipeline.where = f"chunk {number} of {len(chunks)}: " if len(chunks) > 1 else ""
                part = frames[chunk.start : chunk.stop]
                with self.timed(report, "prepare"):
                    video = self.attempt(report, partial(self._enlarged, part, request, alone))
                tiles = (tile(video, row, column) for row in rows for column in columns)
                if alone:
                    whole = next(tiles)
                elif self.device.type == "meta":  # there the tiles are counted, and nothing can be joined
                    list(tiles)
                    whole = video[0].transpose(0, 1)
                else:
                    whole = merge_tiles(tiles, rows, columns, self.tile["blend"])
                yield whole[: len(chunk), :, :height, :width]

        given = 0
        for block in merge_stream(blocks(), chunks, "cut"):
            yield block[: max(total - given, 0)]
            given += len(block)

    def _announce(
        self, chunks: list[Span], rows: list[Span], columns: list[Span], request: Request, report: Report
    ) -> None:
        """Choose a memory mode for the largest piece, and say in the report what will be done."""
        self._factor = request.scale
        longest = padded_length(max(map(len, chunks)), TIME_MULTIPLE, 1)
        tall, wide = max(map(len, rows)), max(map(len, columns))
        self.plan_memory(Geometry(longest, tall, wide), report)
        report.plan.update(
            chunk=len(chunks[0]),
            windows=len(chunks),
            starts=[chunk.start for chunk in chunks],
            tile=None if len(rows) == len(columns) == 1 else [tall, wide],
            vae_tile=self._vae_tile(tall)[0],
            weights=self.weights_hashes(),
        )
        report.notes.extend(note for note in self._ready().notes if note not in report.notes)

    def _enlarged(self, frames: Tensor, request: Request, alone: bool) -> Tensor:
        """Some frames as the VAE takes them, on the device if one piece of work takes all of them and memory is normal.

        Frames are enlarged a few at a time: where the video has to wait elsewhere, the device never holds all of it.
        """
        there = self.device if alone and self.memory_mode == "normal" else frames.device
        size = max(1, BLOCK_PIXELS // math.prod(request.size(*frames.shape[-2:])))
        pieces = [
            enlarged(some.to(self.device), int(request.scale), self.upsample, self.pad_mode).to(there, self.dtype)
            for some in torch.split(frames, size)
        ]
        return padded(torch.cat(pieces).transpose(0, 1)[None])

    def _tiles(self, side: int, axis: int) -> list[Span]:
        """Tiles of one axis of the padded frame."""
        length, size = padded_length(side, SIDE_MULTIPLE), self.tile["size"]
        wanted = length if size is None else size[axis]
        if wanted >= length:
            return [Span(0, length)]
        return plan_spans(length, wanted, self.tile["overlap"], align=SIDE_MULTIPLE, last="shift")

    def _pipeline(self, request: Request, report: Report) -> Pipeline:
        """The arithmetic of one clip, with this method's networks, timed and watched."""
        from stvsr_bench.methods.diffst.pipeline import Pipeline

        return Pipeline(
            self,
            self._ready(),
            report,
            one_step=self.one_step,
            latent_scale=self._scale,
            posterior=self.posterior,
            key_updates=min(self.cfca["key_updates"], TINY_UPDATES if self.preset == "tiny" else 10**6),
            vae_tile=self._vae_tile,
            generator=self.generator(request),
        )


def _chunks(total: int, length: int | None, overlap: int) -> list[Span]:
    """Chunks of an output of ``total`` frames, the last one shifted back to be whole.

    >>> [(chunk.start, chunk.stop) for chunk in _chunks(61, 33, 9)]
    [(0, 33), (24, 57), (28, 61)]
    """
    if length is None or length >= total:
        return [Span(0, total)]
    return plan_spans(total, length, overlap, last="shift")


def finished(video: Tensor) -> Tensor:
    """Return decoded frames of any dtype as float32 in [0, 1]."""
    return (video.float().clamp(-1, 1) + 1) / 2
