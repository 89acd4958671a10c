"""How much longer `prepare` takes than decoding the same image files and doing nothing with them.

    python benchmarks/prepare_speed.py [DATASET [ROOT [REPEATS]]]

Pure decoding is reading each file and handing it to OpenCV, by as many threads. `prepare` also checks the files to be
whole, joins the planes, hashes every pixel and looks at names. Both run in turn in one process; printed are the
shortest wall time and the least CPU time of each, and the ratio. Default: the demo clips, five times.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from stvsr_bench.data.factory import build_dataset
from stvsr_bench.data.integrity import decode, frame_paths, usable_cpus
from stvsr_bench.data.inventory import inventory


def decode_only(path: Path) -> int:
    """Decode one file and forget it."""
    return int(cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED).size)


def measure(work: Callable[[], object]) -> tuple[float, float]:
    """Return wall and CPU seconds of ``work``."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main(name: str, root: str | None, repeats: int) -> None:
    """Measure and print."""
    cv2.setNumThreads(1)
    dataset = build_dataset(name, {} if root is None else {"root": root})
    items = inventory(dataset, dataset.sources())
    paths = [path for item in items if item.pixels is not None for path in frame_paths(item.pixels) or ()]
    print(f"{dataset.id}: {len(paths)} files, {sum(path.stat().st_size for path in paths) / 2**20:.1f} MiB")
    print("threads  decode s  prepare s  ratio  decode CPU  prepare CPU  ratio")
    for threads in sorted({1, usable_cpus()}):

        def plain(threads: int = threads) -> None:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(decode_only, paths))

        def prepare(threads: int = threads) -> None:
            list(decode(items, threads))

        rounds = [(measure(plain), measure(prepare)) for _ in range(repeats + 1)][1:]  # the first fills the caches
        wall = [min(one[side][0] for one in rounds) for side in (0, 1)]
        cpu = [min(one[side][1] for one in rounds) for side in (0, 1)]
        print(
            f"{threads:7} {wall[0]:9.3f} {wall[1]:10.3f} {wall[1] / wall[0]:6.2f} {cpu[0]:11.3f} {cpu[1]:12.3f} "
            f"{cpu[1] / cpu[0]:6.2f}"
        )


if __name__ == "__main__":
    given = sys.argv[1:]
    main(given[0] if given else "demo", given[1] if len(given) > 1 else None, int(given[2]) if len(given) > 2 else 5)
