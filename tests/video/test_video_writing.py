import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from stvsr_bench.core.errors import ClipError, ResultError
from stvsr_bench.video import writing
from stvsr_bench.video.reading import open_clip
from stvsr_bench.video.writing import open_writer

KINDS = ("png", "ffv1", "mp4")
NAME = {"png": "walk (1), ä=b ~.png", "ffv1": "walk (1), ä=b ~.mkv", "mp4": "walk (1), ä=b ~.mp4"}


def noise(count: int = 7, height: int = 34, width: int = 46) -> torch.Tensor:
    return torch.randint(
        0, 256, (count, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


@pytest.mark.parametrize("size", [(34, 46), (33, 45), (1, 1)])
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("kind", ["png", "ffv1"])
def test_lossless_round_trip(tmp_path: Path, kind: str, workers: int, size: tuple[int, int]) -> None:
    frames = noise(7, *size)
    path = tmp_path / "new folder" / NAME[kind]
    with open_writer(path, kind, *size, Fraction(30000, 1001), workers) as writer:
        for block in frames.split(3):
            block = block.clone()
            writer.write(block)
            block.zero_()  # the caller may reuse its memory
        assert not path.exists()
    assert writer.frames == 7
    clip = open_clip(path)
    assert torch.equal(clip[:], frames)
    assert clip.frame_rate == (None if kind == "png" else Fraction(30000, 1001))
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_names_and_permissions_of_a_png_folder(tmp_path: Path) -> None:
    with open_writer(tmp_path / "c", "png", 34, 46) as writer:
        writer.write(noise(12))
    assert sorted(os.listdir(tmp_path / "c")) == [f"{i:08d}.png" for i in range(12)]
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o777 & ~umask
    assert np.array_equal(cv2.imread(str(tmp_path / "c" / "00000003.png"))[..., ::-1], noise()[3].permute(1, 2, 0))


def test_non_contiguous_blocks(tmp_path: Path) -> None:
    frames = noise().permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert not frames.is_contiguous()
    for kind in ("png", "ffv1"):
        with open_writer(tmp_path / kind, kind, 34, 46) as writer:
            writer.write(frames[::2])
        assert torch.equal(open_clip(tmp_path / kind)[:], frames[::2])


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(25), Fraction(60), Fraction(16), Fraction(15, 2)])
@pytest.mark.parametrize("kind", ["ffv1", "mp4"])
def test_frame_rate_is_kept_exactly(tmp_path: Path, kind: str, rate: Fraction) -> None:
    with open_writer(tmp_path / NAME[kind], kind, 34, 46, rate) as writer:
        writer.write(noise(25))
    clip = open_clip(tmp_path / NAME[kind])
    assert (len(clip), clip.frame_rate) == (25, rate)


def test_mp4_looks_like_its_source(tmp_path: Path) -> None:
    y, x = torch.meshgrid(torch.arange(64), torch.arange(96), indexing="ij")
    frames = torch.stack([torch.stack([x + 40 + t, y + 60, x + y]) for t in range(5)]).to(torch.uint8)
    with open_writer(tmp_path / "a.mp4", "mp4", 64, 96, Fraction(24)) as writer:
        writer.write(frames)
    got = open_clip(tmp_path / "a.mp4")[:]
    assert (got.float() - frames.float()).abs().mean() < 3
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"


@pytest.mark.parametrize("size", [(33, 46), (34, 45)])
def test_odd_sizes_for_mp4_are_an_error(tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(ClipError, match=rf"{size[1]}x{size[0]}; accepted: an even width.*\.mkv, or crop"):
        open_writer(tmp_path / "a.mp4", "mp4", *size)


def test_wrong_blocks_and_arguments(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match="kind 'gif'; accepted: png, ffv1, mp4"):
        open_writer(tmp_path / "a", "gif", 8, 8)
    with pytest.raises(ClipError, match="0x8"):
        open_writer(tmp_path / "a", "png", 8, 0)
    for block in (torch.zeros(1, 3, 8, 9, dtype=torch.uint8), torch.zeros(1, 3, 8, 8), torch.zeros(3, 8, 8)):
        with (
            pytest.raises(ClipError, match=r"accepted: uint8 RGB \(T, 3, 8, 8\)"),
            open_writer(tmp_path / "a", "png", 8, 8) as writer,
        ):
            writer.write(block)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_zero_frames_and_failures_leave_nothing(tmp_path: Path, kind: str) -> None:
    path = tmp_path / NAME[kind]
    with pytest.raises(ClipError, match="zero frames"), open_writer(path, kind, 34, 46):
        pass
    with pytest.raises(KeyError, match="theirs"), open_writer(path, kind, 34, 46) as writer:
        writer.write(noise())
        raise KeyError("theirs")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_an_older_result_is_replaced_only_by_a_whole_one(tmp_path: Path, kind: str) -> None:
    path = tmp_path / NAME[kind]
    with open_writer(path, kind, 34, 46) as writer:
        writer.write(noise(9))
    with pytest.raises(KeyError), open_writer(path, kind, 34, 46) as writer:
        writer.write(noise(2))
        raise KeyError
    assert len(open_clip(path)) == 9
    with open_writer(path, kind, 34, 46) as writer:
        writer.write(noise(2))
    assert len(open_clip(path)) == 2
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_in_an_encoding_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, bgr: np.ndarray) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writing, "_write_png", full)
    path = tmp_path / "a"
    with pytest.raises(ResultError, match="No space left on device") as error, open_writer(path, "png", 34, 46) as w:
        w.write(noise(2))  # fewer than the queue holds, so that it shows at the end only
    assert str(path) in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_real_limit_on_file_sizes(tmp_path: Path, kind: str) -> None:
    """The kernel refuses to write: the error names the path, and nothing is left."""
    path = tmp_path / "sub" / NAME[kind]
    script = f"""
        import resource, signal, torch
        from stvsr_bench.core.errors import ResultError
        from stvsr_bench.video.writing import open_writer
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
        frames = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
        try:
            with open_writer({str(path)!r}, {kind!r}, 64, 64) as writer:
                for _ in range(20):
                    writer.write(frames)
        except ResultError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert str(path) in done.stdout
    assert "File too large" in done.stdout
    assert "free space" in done.stdout
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_killed_while_writing_leaves_nothing_under_the_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / NAME[kind]
    script = f"""
        import time, torch
        from stvsr_bench.video.writing import open_writer
        with open_writer({str(path)!r}, {kind!r}, 34, 46) as writer:
            writer.write(torch.zeros(40, 3, 34, 46, dtype=torch.uint8))
            print("begun", flush=True)
            time.sleep(60)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "begun"
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert not path.exists()
    assert all(p.name.startswith(".tmp-") for p in tmp_path.iterdir())


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for kind in KINDS:
        with pytest.raises(ResultError, match="cannot write"), open_writer(tmp_path / "file" / "a", kind, 8, 8) as w:
            w.write(noise(1, 8, 8))


def test_the_queue_of_frames_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = 0
    most = 0
    real = writing._write_png

    def slow(path: Path, bgr: np.ndarray) -> None:
        nonlocal waiting
        time.sleep(0.005)
        real(path, bgr)
        waiting -= 1

    monkeypatch.setattr(writing, "_write_png", slow)
    with open_writer(tmp_path / "a", "png", 8, 8, workers=2) as writer:
        for frame in noise(40, 8, 8):
            waiting += 1
            writer.write(frame[None])
            most = max(most, waiting)
    assert len(open_clip(tmp_path / "a")) == 40
    assert most <= 2 * 2 + 2
