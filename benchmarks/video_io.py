"""Frames per second of decoding and encoding one clip: ``python benchmarks/video_io.py CLIP [--workers N]``."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from stvsr_bench.video.clip import ArrayClip
from stvsr_bench.video.prefetch import PrefetchClip
from stvsr_bench.video.reading import open_clip
from stvsr_bench.video.writing import OUTPUT_KINDS, open_writer

ENDINGS = {"png": "", "ffv1": ".mkv", "mp4": ".mp4"}


def best(work: Callable[[], None], repeats: int) -> float:
    """Return the shortest of ``repeats`` wall times of ``work``, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Write the clip in every format, read it back, and print one row per format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path, help="folder of frames or video file")
    parser.add_argument("--workers", type=int, default=2, help="threads for encoding and for read-ahead")
    parser.add_argument("--repeats", type=int, default=3, help="the shortest time of this many counts")
    parser.add_argument("--block", type=int, default=4, help="frames per block")
    arguments = parser.parse_args()

    source = open_clip(arguments.clip)
    clip = ArrayClip(source[:], source.name, source.frame_rate)
    print(f"{source.name}: {len(clip)} frames of {clip.width}x{clip.height}, {arguments.workers} workers")
    print(f"{'format':8}{'encode':>12}{'decode':>12}{'read ahead':>12}{'KB/frame':>12}")
    with tempfile.TemporaryDirectory() as folder:
        for kind in OUTPUT_KINDS:
            path = Path(folder) / f"clip{ENDINGS[kind]}"

            def encode(kind: str = kind, path: Path = path) -> None:
                with open_writer(path, kind, clip.height, clip.width, clip.frame_rate, arguments.workers) as writer:
                    for block in clip.blocks(arguments.block):
                        writer.write(block)

            def decode(path: Path = path) -> None:
                for _ in open_clip(path).blocks(arguments.block):
                    pass

            def read_ahead(path: Path = path) -> None:
                with PrefetchClip(open_clip(path), arguments.workers) as ahead:
                    for _ in ahead.blocks(arguments.block):
                        pass

            speeds = [len(clip) / best(work, arguments.repeats) for work in (encode, decode, read_ahead)]
            files = path.iterdir() if path.is_dir() else [path]
            size = sum(os.path.getsize(f) for f in files) / len(clip) / 1000
            print(f"{kind:8}" + "".join(f"{s:8.1f} fps" for s in speeds) + f"{size:12.0f}")


if __name__ == "__main__":
    main()
