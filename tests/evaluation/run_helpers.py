"""What the tests of runs share: tiny clips and the program as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

FRAMES, HEIGHT, WIDTH = 9, 32, 48
CLIPS = ("ant", "bee", "cat")


def write_clip(folder: Path, seed: int, frames: int = FRAMES, height: int = HEIGHT, width: int = WIDTH) -> None:
    """Write a smooth random texture that moves one pixel a frame."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    texture = cv2.GaussianBlur(rng.integers(0, 256, (height, width + frames, 3)).astype(np.uint8), (0, 0), 2)
    for i in range(frames):
        cv2.imwrite(str(folder / f"{i:04d}.png"), texture[:, i : i + width])


def start(arguments: Sequence[str], cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """Start the program as a process of its own, which hears of SIGINT even if the tests run in the background."""
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from stvsr_bench.cli.app import main; main()\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def folder_of(clips: Path) -> list[str]:
    """Options that name the tiny clips."""
    return ["dataset=folder", f"dataset.root={clips}", "dataset.name=tiny"]
