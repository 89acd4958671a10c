"""Peak memory of scoring clips of different lengths, each in a process of its own.

    python benchmarks/metric_memory.py [metrics=fast] [size=320x180] [frames=100,400]

Frames are drawn as they are read and never all held. Memory must not grow with the clip: the last
column is the peak over that of the shortest clip. `metrics=fast size=1280x720 frames=2000` is a long clip in full size.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Sequence

import torch

from stvsr_bench.evaluation.score import evaluate
from stvsr_bench.video.clip import Clip, Frames


class DrawnClip(Clip):
    """A clip whose frames are drawn from their number."""

    def __init__(self, count: int, height: int, width: int, seed: int) -> None:
        self.name, self.count, self.height, self.width, self.seed = "drawn", count, height, width, seed
        generator = torch.Generator().manual_seed(seed)
        self.base = torch.randint(0, 200, (3, height, width), dtype=torch.uint8, generator=generator)

    def __len__(self) -> int:
        return self.count

    def read(self, indices: Sequence[int]) -> Frames:
        return torch.stack([self.base.roll(i % 64, 2) + i % 50 for i in indices])


def score(metrics: str, height: int, width: int, frames: int) -> float:
    """Score a clip; return the peak of this process in MiB."""
    evaluate(DrawnClip(frames, height, width, 1), DrawnClip(frames, height, width, 2), metrics, device="cpu")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    options = {"metrics": "fast", "size": "320x180", "frames": "100,400"}
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key not in options:
            sys.exit(__doc__)
        options[key] = value
    width, height = (int(side) for side in options["size"].split("x"))
    shortest = 0.0
    for count in options["frames"].split(","):
        command = [sys.executable, __file__, "--one", options["metrics"], str(height), str(width), count]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peak = float(done.stdout.splitlines()[-1])
        shortest = shortest or peak
        print(f"{options['metrics']}, {count} frames of {options['size']}: {peak:.0f} MiB, {peak / shortest:.3f}×")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(score(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])))
    else:
        main(sys.argv[1:])
