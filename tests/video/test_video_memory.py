"""Peak memory of ten times as many frames, measured by the kernel in a process of its own."""

import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from stvsr_bench.video.writing import open_writer

FEW, MANY = 400, 4000

# Every way of going through a clip, one after the other. VmHWM, unlike ru_maxrss, is not inherited from the parent.
SCRIPT = """
    import sys
    from stvsr_bench.video.prefetch import PrefetchClip
    from stvsr_bench.video.reading import open_clip
    from stvsr_bench.video.stream import StreamClip
    from stvsr_bench.video.writing import open_writer

    source, count, out = sys.argv[1:]
    clip = open_clip(source)
    assert len(clip) == int(count)
    for block in clip.blocks(16):
        pass
    with PrefetchClip(clip, budget_bytes=8 << 20) as ahead, open_writer(out, "ffv1", 64, 64) as writer:
        for block in ahead.blocks(16):
            writer.write(block)
    stream = StreamClip(clip.blocks(16), len(clip), 64, 64, window_bytes=4 << 20)
    for block in stream.blocks(5):
        pass
    spool = StreamClip(clip.blocks(16), len(clip), 64, 64, spool=True)
    for index in reversed(range(len(spool))):
        spool[index]
    if not source.endswith("0"):
        for index in reversed(range(len(clip))):
            clip[index]
    HOLD
    print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def peak_mib(source: Path, count: int, out: Path, hold: str = "pass") -> float:
    script = textwrap.dedent(SCRIPT).replace("HOLD", hold)
    done = subprocess.run(
        [sys.executable, "-c", script, str(source), str(count), str(out)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout) / 1024


def make(root: Path, kind: str, count: int) -> Path:
    """Return a folder or video of ``count`` frames of 64×64 noise."""
    noise = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)
    path = root / f"{kind}-{count}"
    if kind == "folder":
        path.mkdir()
        images = [cv2.imencode(".png", f)[1].tobytes() for f in noise]
        for i in range(count):
            (path / f"{i}.png").write_bytes(images[i % 16])
        return path
    path = path.with_suffix(".mp4")
    with open_writer(path, "mp4", 64, 64) as writer:
        for _ in range(count // 16):
            writer.write(torch.from_numpy(noise).permute(0, 3, 1, 2))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "video"])
def test_4000_frames_need_at_most_50_mib_more_than_400(tmp_path: Path, kind: str) -> None:
    few = peak_mib(make(tmp_path, kind, FEW), FEW, tmp_path / "few.mkv")
    many = peak_mib(make(tmp_path, kind, MANY), MANY, tmp_path / "many.mkv")
    print(f"{kind}: {few:.1f} MiB for {FEW} frames, {many:.1f} MiB for {MANY}")
    assert many - few < 50


@pytest.mark.slow
def test_the_measurement_sees_a_clip_that_is_held(tmp_path: Path) -> None:
    source = make(tmp_path, "folder", FEW)
    lazy = peak_mib(source, FEW, tmp_path / "a.mkv")
    held = peak_mib(source, FEW, tmp_path / "b.mkv", hold="kept = [clip[:] for _ in range(20)]")
    assert held - lazy > 50
