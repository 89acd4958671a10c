"""Time the degradations of whole clips: a 31-frame 720×480 clip alone, and two such clips on two processes.

Run from the repository root: ``python benchmarks/degradation_speed.py [--size 720x480] [--frames 31] [--clips 8]
[--only ID]``. One thread per process. Times depend on what a clip draws (an enlarged clip costs several times a reduced
one), so that the mean over several clips is printed, and the same clips are timed alone and in parallel. Frames are a
smooth moving picture with texture.
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import torch

from stvsr_bench.degradation.clipwise import CLIPWISE

cv2.setNumThreads(1)
torch.set_num_threads(1)


def frames_of(count: int, width: int, height: int) -> torch.Tensor:
    """A smooth random picture with texture that moves by a pixel per frame, uint8 ``(count, 3, height, width)``."""
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(1, 3, height // 16, width // 16, generator=generator)
    size = (height, width + count)
    picture = torch.nn.functional.interpolate(small, size=size, mode="bicubic", align_corners=False)[0]
    picture = ((picture + 0.03 * torch.randn(picture.shape, generator=generator)).clamp(0, 1) * 255).to(torch.uint8)
    return torch.stack([picture[..., t : t + width] for t in range(count)])


def degrade(job: tuple[str, int, int, int, int]) -> tuple[float, float]:
    """Degrade one clip; returns seconds of CPU time for drawing the recipe and for applying it."""
    name, clip, count, width, height = job
    degradation = CLIPWISE[name]
    frames = frames_of(count, width, height)
    start = time.process_time()
    recipe = degradation.sample("speed", f"clip{clip}", count, (height, width), 4, 0)
    drawn = time.process_time()
    for _ in degradation.apply(recipe, frames.split(8)):
        pass
    return drawn - start, time.process_time() - drawn


def main() -> None:
    """Parse the command line and print one line per degradation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="720x480")
    parser.add_argument("--frames", type=int, default=31)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--only", choices=list(CLIPWISE))
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    print(f"{options.clips} clips of {options.frames} frames {width}×{height}; seconds")
    print(f"{'':18s} {'recipe':>7s} {'CPU/clip':>9s} {'least':>6s} {'most':>6s} {'1 proc':>7s} {'2 procs':>8s}   ratio")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(degrade, [("dove", -1, 1, 64, 64)] * 2))  # start the workers and import before timing
        for name in [options.only] if options.only else CLIPWISE:
            jobs = [(name, clip, options.frames, width, height) for clip in range(options.clips)]
            start = time.perf_counter()
            alone = [degrade(job) for job in jobs]
            one = time.perf_counter() - start
            list(pool.map(degrade, jobs))
            two = time.perf_counter() - start - one
            recipe, work = sum(a for a, _ in alone) / len(jobs), [b for _, b in alone]
            print(
                f"{name:18s} {recipe:7.3f} {sum(work) / len(jobs):9.2f} {min(work):6.2f} {max(work):6.2f} "
                f"{one:7.1f} {two:8.1f}   {one / two:.2f}"
            )


if __name__ == "__main__":
    main()
