import os
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from stvsr_bench.core.errors import ClipError, MethodError, ResultError
from stvsr_bench.video.clip import Frames
from stvsr_bench.video.stream import StreamClip

FRAME = 3 * 4 * 6


def blocks(count: int, size: int, fail_at: int | None = None, log: list[str] | None = None) -> Iterator[Frames]:
    """Frames whose samples are their number, in blocks of ``size``."""
    for start in range(0, count, size):
        if fail_at is not None and start >= fail_at:
            raise MethodError("out of luck")
        if log is not None:
            log.append(str(start))
        yield torch.stack(
            [torch.full((3, 4, 6), i % 256, dtype=torch.uint8) for i in range(start, min(start + size, count))]
        )
    if log is not None:
        log.append("end")


def numbers(frames: Frames) -> list[int]:
    return frames[:, 0, 0, 0].tolist()


def test_forward_reading_is_lazy_and_ends_the_generator() -> None:
    log: list[str] = []
    clip = StreamClip(blocks(20, 4, log=log), 20, 4, 6, "s", Fraction(24))
    assert (len(clip), clip.height, clip.width, clip.name, clip.frame_rate) == (20, 4, 6, "s", 24)
    assert log == []
    assert numbers(clip[:3]) == [0, 1, 2]
    assert log == ["0"]
    assert numbers(clip[3:9]) == list(range(3, 9))
    assert log == ["0", "4", "8"]
    assert numbers(clip[9:]) == list(range(9, 20))
    assert log[-1] == "end"


@pytest.mark.parametrize("size", [1, 3, 7, 50])
@pytest.mark.parametrize("request_size", [1, 2, 5, 50])
def test_any_block_and_request_sizes(size: int, request_size: int) -> None:
    clip = StreamClip(blocks(50, size), 50, 4, 6, window_bytes=1)
    assert numbers(torch.cat(list(clip.blocks(request_size)))) == list(range(50))


def test_the_window_holds_what_it_says_and_no_more() -> None:
    clip = StreamClip(blocks(100, 2), 100, 4, 6, window_bytes=10 * FRAME)
    for index in range(100):
        clip[index]
        assert sum(len(b) for _, b in clip._window) <= 10 + 2
    assert numbers(clip[90:]) == list(range(90, 100))
    with pytest.raises(ClipError, match=r"frame 3 has passed; .*accepted: frames from 90 on; .*spool=True"):
        clip[3]
    assert clip[95].unique().tolist() == [95]


def test_one_request_may_be_in_any_order() -> None:
    clip = StreamClip(blocks(30, 4), 30, 4, 6, window_bytes=1)
    order = [17, 3, 29, 3, 0, 11]
    assert numbers(clip.read(order)) == order


def test_spool_allows_any_order_and_leaves_no_file(tmp_path: Path) -> None:
    clip = StreamClip(blocks(30, 4), 30, 4, 6, spool=True, spool_folder=tmp_path, window_bytes=1)
    assert numbers(clip[20:]) == list(range(20, 30))
    assert numbers(clip.read([5, 29, 0, 5])) == [5, 29, 0, 5]
    assert numbers(clip[:]) == list(range(30))
    assert list(tmp_path.iterdir()) == []
    assert len(clip._window) == 0
    clip.close()


def test_spool_of_noise_is_lossless(tmp_path: Path) -> None:
    frames = torch.randint(0, 256, (9, 3, 5, 7), dtype=torch.uint8)
    channels_last = frames.contiguous(memory_format=torch.channels_last)
    clip = StreamClip(iter(channels_last.split(2)), 9, 5, 7, spool=True, spool_folder=tmp_path)
    assert torch.equal(clip.read(range(8, -1, -1)), frames.flip(0))


@pytest.mark.parametrize("spool", [False, True])
def test_an_error_surfaces_at_the_read_that_needs_it_and_stays(spool: bool) -> None:
    clip = StreamClip(blocks(20, 4, fail_at=8), 20, 4, 6, spool=spool)
    assert numbers(clip[:8]) == list(range(8))
    for _ in range(2):
        with pytest.raises(MethodError, match="out of luck"):
            clip[8]
    assert numbers(clip[6:8]) == [6, 7]


def test_too_few_too_many_and_wrong_frames() -> None:
    with pytest.raises(ClipError, match="ended early; got 12 frames; accepted: 20 frames"):
        StreamClip(blocks(12, 4), 20, 4, 6)[:]
    with pytest.raises(ClipError, match="more frames came than were announced; got at least 12 frames"):
        StreamClip(blocks(12, 4), 10, 4, 6)[:]
    with pytest.raises(ClipError, match="more frames came than were announced; got at least 12 frames"):
        StreamClip(blocks(12, 4), 8, 4, 6)[:]
    with pytest.raises(ClipError, match=r"block at frame 0 has another form; .*accepted: uint8 RGB \(T, 3, 4, 7\)"):
        StreamClip(blocks(12, 4), 12, 4, 7)[0]
    with pytest.raises(ClipError, match="float32"):
        StreamClip(iter([torch.zeros(1, 3, 4, 6)]), 1, 4, 6)[0]


def test_close_stops_the_generator() -> None:
    closed = threading.Event()

    def endless() -> Iterator[Frames]:
        try:
            while True:
                yield torch.zeros(1, 3, 4, 6, dtype=torch.uint8)
        finally:
            closed.set()

    clip = StreamClip(endless(), 100, 4, 6)
    clip[3]
    clip.close()
    assert closed.is_set()
    with pytest.raises(ClipError, match="closed"):
        clip[50]


def test_threads_take_turns() -> None:
    clip = StreamClip(blocks(200, 3), 200, 4, 6)
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda i: int(clip[i][0, 0, 0]), range(200)))
    assert got == list(range(200))


def test_a_full_disk_while_spooling(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, os.strerror(28))

    clip = StreamClip(blocks(20, 4), 20, 4, 6, "s", spool=True)
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(ResultError, match=r"No space left on device; .*TMPDIR"):
        clip[0]


def test_the_temporary_file_lies_where_the_system_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.raises(ResultError, match="temporary file"):
        StreamClip(blocks(20, 4), 20, 4, 6, spool=True)
