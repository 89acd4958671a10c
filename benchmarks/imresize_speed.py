"""Time imresize beside Pillow's ``resize`` of the same kernel and size, one thread each, in turn.

Run from the repository root: ``python benchmarks/imresize_speed.py [--size 720x480] [--frames 4] [--rounds 15]``.
Figures are CPU milliseconds per frame, best of several rounds; a round times both, so that a machine that slows down
slows both. Each starts from frames in its own layout in memory. The content is noise: worse for us than pictures,
since more sums lie near a tie and are done again in double precision.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from fractions import Fraction

os.environ.setdefault("OMP_NUM_THREADS", "1")

import PIL
import torch
from PIL import Image

from stvsr_bench.degradation.imresize import imresize

PILLOW = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos3": Image.Resampling.LANCZOS,
}
SCALES = (Fraction(1, 4), Fraction(1, 3), Fraction(1, 2), Fraction(2), Fraction(3), Fraction(4))


def cpu_time(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Read the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="720x480", help="WIDTHxHEIGHT, multiples of 12 (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=4, help="frames in the batch (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=15, help="repetitions, of which the best counts (default: %(default)s)"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    width, height = (int(side) for side in options.size.split("x"))
    noise = torch.Generator().manual_seed(0)
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, Pillow {PIL.__version__}")
    print(f"to or from {width}×{height}, CPU ms per frame, {options.frames} frames, best of {options.rounds}")
    print(f"{'kernel':9s} {'scale':>6s} {'imresize':>9s} {'Pillow':>8s}   Pillow / imresize")
    for kernel, pillow in PILLOW.items():
        for scale in SCALES:
            sides = [int(side / max(scale, Fraction(1))) for side in (height, width)]
            frames = torch.randint(0, 256, (options.frames, 3, *sides), dtype=torch.uint8, generator=noise)
            images = [Image.fromarray(frame.permute(1, 2, 0).contiguous().numpy()) for frame in frames]
            size = int(sides[1] * scale), int(sides[0] * scale)

            def ours(f: torch.Tensor = frames, s: Fraction = scale, k: str = kernel) -> object:
                return imresize(f, s, kernel=k)

            def theirs(i: list[Image.Image] = images, s: tuple[int, int] = size, p: int = pillow) -> object:
                return [image.resize(s, p) for image in i]

            times = [(cpu_time(ours), cpu_time(theirs)) for _ in range(options.rounds + 2)][2:]
            a, b = (1000 * min(column) / options.frames for column in zip(*times, strict=True))
            print(f"{kernel:9s} {'×' + str(scale):>6s} {a:9.2f} {b:8.2f}   {b / a:.2f}", flush=True)


if __name__ == "__main__":
    main()
