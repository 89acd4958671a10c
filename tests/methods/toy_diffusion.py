"""A small real diffusion method: encodes, runs a network of blocks, decodes, in chunks of two frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stvsr_bench.methods.base import Report, Request
from stvsr_bench.methods.diffusion import DiffusionMethod, Geometry, Part
from stvsr_bench.video.clip import Clip, Frames
from stvsr_bench.video.color import to_float, to_uint8

CHUNK = 2


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.wide = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        narrowed: Tensor = self.narrow(F.gelu(self.wide(x)))
        return x + narrowed


class Net(nn.Module):
    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return x


class Codec(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, width, 4, 4)
        self.decoder = nn.Conv2d(width, 48, 1)
        self.exact = nn.Conv2d(3, 3, 1)

    def encode(self, x: Tensor) -> Tensor:
        encoded: Tensor = self.encoder(x)
        return encoded

    def decode(self, z: Tensor) -> Tensor:
        decoded: Tensor = self.exact(F.pixel_shuffle(self.decoder(z), 4).float())
        return decoded


class Toy(DiffusionMethod):
    """Enlarges, then adds what the networks make of it.

    Args:
        width: channels.
    """

    task = "stvsr"
    scales = frozenset({4})
    time_scales = frozenset({1})
    memory_option = "method.width=4"

    def __init__(
        self,
        *,
        name: str = "toy",
        width: int = 8,
        memory: str = "auto",
        compile: bool = False,
        scale: float | None = None,
        time_scale: int | None = None,
        preset: str | None = None,
        allow_untrained: bool = False,
    ) -> None:
        super().__init__(
            name=name, memory=memory, compile=compile, scale=scale, time_scale=time_scale,
            preset=preset, allow_untrained=allow_untrained,
        )  # fmt: skip
        self.width = width
        self.fail_when: dict[str, int] = {}  # mode → how often a net call in that mode still runs out of memory

    @property
    def weights(self) -> Sequence[str]:
        return ()

    def part_dtypes(self) -> dict[str, torch.dtype]:
        return {"codec": self.dtype, "codec.exact": torch.float32, "net": self.dtype}

    def working_bytes(self, part: str, geometry: Geometry, mode: str) -> int:
        scale = {"normal": 4, "low": 2, "lowest": 1}[mode]
        return geometry.frames * geometry.height * geometry.width * scale * (3 if part == "codec" else 1)

    def setup(self, device: torch.device | str = "cpu", dtype: str = "float32") -> None:
        super().setup(device, dtype)
        with torch.device("meta"):
            codec, net = Codec(self.width), Net(self.width, 4)
        self.seeded(codec, self.dtype, "toy", "codec")
        self.seeded(net, self.dtype, "toy", "net")
        self.hold(
            Part("codec", codec, self.dtype, exact=(codec.exact,), layout=torch.channels_last, compiled=()),
            Part("net", net, self.dtype, blocks=list(net.blocks)),
        )

    def restore_stream(self, clip: Clip, request: Request, report: Report) -> Iterator[Frames]:
        generator = self.generator(request)
        self.plan_memory(Geometry(CHUNK, clip.height * 4, clip.width * 4), report)
        for start in range(0, len(clip), CHUNK):
            frames = to_float(clip[start : start + CHUNK]).to(self.device)

            def chunk(frames: Tensor = frames) -> Frames:
                return to_uint8(self._chunk(frames, report, generator)).cpu()

            yield self.attempt(report, chunk, generator)

    def rehearse(self, frames: Tensor, request: Request, report: Report) -> None:
        self._chunk(frames, report, None)

    def _chunk(self, frames: Tensor, report: Report, generator: torch.Generator | None) -> Tensor:
        with self.timed(report, "prepare"):
            large = F.interpolate(frames, scale_factor=4, mode="bilinear")
        with torch.inference_mode():
            with self.using("codec", report, "encode") as codec:
                z = codec.encode(large.to(self.dtype))
            if generator is not None:
                z = z + torch.randn(z.shape, generator=generator).to(z)
            with self.using("net", report) as net:
                if self.fail_when.get(self.memory_mode, 0) > 0:
                    self.fail_when[self.memory_mode] -= 1
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB")
                z = net(z.movedim(1, -1)).movedim(-1, 1)
            with self.using("codec", report, "decode") as codec:
                out = []
                for number, one in enumerate(z, 1):
                    out.append(codec.decode(one[None]))
                    self.tell(report, "decode tiles", number, len(z))
        return (large + 0.1 * torch.cat(out)).clamp(0, 1)


def options(**given: Any) -> dict[str, Any]:
    return {"preset": "tiny", **given}
