"""Time the metrics that need no weights, one thread: CPU milliseconds per frame, best of several rounds.

Run from the repository root: ``python benchmarks/metric_arithmetic.py [--size 720x480] [--rounds 7] [--pyiqa]``.
The frames are a smooth random picture and a bicubic ×4 down-up version of it; the content does not change the times.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from fractions import Fraction

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import torch

from stvsr_bench.degradation.imresize import imresize
from stvsr_bench.metrics.base import FrameBatch, Metric, build_metric
from stvsr_bench.metrics.catalog import CATALOG

FRAMES = 4


def best(work: Callable[[], object], rounds: int, frames: int = FRAMES) -> float:
    """Milliseconds of CPU time per frame, best of ``rounds`` after one warm-up."""
    work()
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return 1000 * min(times) / frames


def time_metrics(pred: torch.Tensor, gt: torch.Tensor, rounds: int) -> None:
    """Print the time of each metric alone and of all together, which share luma and maps."""
    metrics = [build_metric(info) for info in CATALOG.values() if not info.weights]

    def score(chosen: list[Metric]) -> None:
        batch = FrameBatch(pred, gt, range(len(pred)))
        for metric in chosen:
            metric.reset()
            metric.update(batch)

    for metric in metrics:
        print(f"  {metric.info.id:28s} {best(lambda m=metric: score([m]), rounds):8.2f} ms")
    print(f"  {'all together':28s} {best(lambda: score(metrics), rounds):8.2f} ms")


def time_pyiqa(pred: torch.Tensor, gt: torch.Tensor) -> None:
    """Print the time of pyiqa's SSIM on Y."""
    from pyiqa.archs.ssim_arch import SSIM

    theirs = SSIM(test_y_channel=True, color_space="ycbcr")
    a, b = pred[:1].float() / 255, gt[:1].float() / 255
    with torch.no_grad():
        print(f"  {'pyiqa ssim on Y':28s} {best(lambda: theirs(a, b), 3, 1):8.2f} ms")


def main() -> None:
    """Read the options and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="720x480", help="WIDTHxHEIGHT, multiples of 12 (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=7, help="repetitions, of which the best counts (default: %(default)s)"
    )
    parser.add_argument("--pyiqa", action="store_true", help="time pyiqa's SSIM too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    width, height = (int(side) for side in options.size.split("x"))
    coarse = torch.randint(0, 256, (FRAMES, 3, height // 12, width // 12), dtype=torch.uint8)
    gt = imresize(coarse, 12)
    pred = imresize(imresize(gt, Fraction(1, 4)), 4)
    print(f"metrics, {width}×{height}, per frame")
    time_metrics(pred, gt, options.rounds)
    if options.pyiqa:
        time_pyiqa(pred, gt)


if __name__ == "__main__":
    main()
