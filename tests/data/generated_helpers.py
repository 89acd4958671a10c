"""What the tests of generated sets share: a quick degradation of whole clips, clips on disk, and processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from stvsr_bench.data.generated import GeneratedClip, Generation
from stvsr_bench.video.clip import Clip, Frames
from stvsr_bench.video.frames import FrameFolderClip


class Fading:
    """Every LQ frame is the mean of its pixels and of the LQ frame before it: the whole clip is needed, in order."""

    per_frame = False
    describe = "mean over scale × scale pixels, mixed with the LQ frame before"

    def __init__(self, version: int = 1, pause: float = 0, library: str = "1.0") -> None:
        self.id, self.version = "fading", version
        self.pause, self.library = pause, library

    def sample(
        self, dataset: str, clip: str, frames: int, size: tuple[int, int], scale: int, seed: int
    ) -> dict[str, Any]:
        return {"scale": scale, "text": f"{dataset}/{clip}", "mix": 0.1 + seed / 3, "size": size, "frames": frames}

    def apply(self, recipe: dict[str, Any], blocks: Iterable[Frames]) -> Iterator[Frames]:
        last = None
        for block in blocks:
            for frame in block:
                time.sleep(self.pause)
                small = torch.nn.functional.avg_pool2d(frame[None].float(), recipe["scale"])
                last = small if last is None else (1 - recipe["mix"]) * small + recipe["mix"] * last
                yield last.clamp(0, 255).to(torch.uint8)

    def libraries(self) -> dict[str, str]:
        return {"library": self.library}


def write_frames(folder: Path, frames: int = 9, size: tuple[int, int] = (32, 48), seed: int = 0) -> Path:
    """Write a random texture that moves one pixel a frame, as PNG files."""
    folder.mkdir(parents=True)
    texture = np.random.default_rng(seed).integers(0, 256, (size[0], size[1] + frames, 3)).astype(np.uint8)
    texture = cv2.GaussianBlur(texture, (0, 0), 2)
    for i in range(frames):
        cv2.imwrite(str(folder / f"{i:04d}.png"), texture[:, i : i + size[1]])
    return folder


def fading(
    gt: Path | Clip, root: Path, *, seed: int = 0, dataset: str = "tiny", name: str | None = None, **options: Any
) -> GeneratedClip:
    """The generated clip of a folder of frames under :class:`Fading`."""
    clip = gt if isinstance(gt, Clip) else FrameFolderClip(gt)
    degradation: Any = Fading(**options)
    return GeneratedClip(clip, degradation, 4, seed, Generation(dataset, root), name or clip.name)


def start_fading(gt: Path, root: Path, pause: float) -> subprocess.Popen[str]:
    """Start a process that makes the set of ``gt`` and prints whether it made it, and the LQ hash."""
    code = (
        "import sys; from pathlib import Path; from generated_helpers import fading\n"
        "clip = fading(Path(sys.argv[1]), Path(sys.argv[2]), pause=float(sys.argv[3]))\n"
        "print(clip.ensure().record.lq_hash, clip.made)\n"
    )
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-c", code, str(gt), str(root), str(pause)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
