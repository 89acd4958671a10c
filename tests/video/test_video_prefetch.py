import multiprocessing
import pickle
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from stvsr_bench.core.errors import ClipError
from stvsr_bench.video.clip import ArrayClip, Clip, Frames, MappedClip
from stvsr_bench.video.prefetch import PrefetchClip
from stvsr_bench.video.reading import open_clip
from stvsr_bench.video.writing import open_writer


class CountingClip(Clip):
    """Frames whose samples are their number; counts every decoding, optionally slow or failing."""

    def __init__(self, count: int = 40, delay: float = 0.0, bad: Sequence[int] = ()) -> None:
        self.name, self.height, self.width = "counting", 4, 6
        self.count, self.delay, self.bad = count, delay, bad
        self.decoded: Counter[int] = Counter()
        self.threads: set[str] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.count

    def read(self, indices: Sequence[int]) -> Frames:
        time.sleep(self.delay)
        with self._lock:
            self.decoded.update(indices)
            self.threads.add(threading.current_thread().name)
        if set(indices) & set(self.bad):
            raise ClipError(f"frame {indices} is bad")
        return torch.stack([torch.full((3, 4, 6), i, dtype=torch.uint8) for i in indices])


FRAME = 3 * 4 * 6


def numbers(frames: Frames) -> list[int]:
    assert all(len(f.unique()) == 1 for f in frames)
    return frames[:, 0, 0, 0].tolist()


def test_same_frames_in_any_order() -> None:
    with PrefetchClip(CountingClip()) as clip:
        assert (len(clip), clip.height, clip.width, clip.name) == (40, 4, 6, "counting")
        assert numbers(clip[:]) == list(range(40))
        order = random.Random(0).choices(range(40), k=200)
        assert numbers(clip.read(order)) == order
        assert [numbers(clip.read([i])) for i in order] == [[i] for i in order]
        assert clip.read([]).shape == (0, 3, 4, 6)


def test_views_read_in_step_decode_every_frame_once() -> None:
    source = CountingClip(60)
    with PrefetchClip(source, budget_bytes=20 * FRAME) as shared:
        low = MappedClip(shared.select(range(0, 60, 2)), lambda x: x[..., ::2, ::2], (2, 3), "half")
        for start in range(0, 30, 3):
            assert numbers(low[start : start + 3]) == [2 * i for i in range(start, start + 3)]
            assert numbers(shared[2 * start : 2 * start + 6]) == list(range(2 * start, 2 * start + 6))
    assert set(source.decoded) == set(range(60))
    assert max(source.decoded.values()) == 1


def test_reading_forward_is_decoded_ahead_in_other_threads() -> None:
    source = CountingClip(40)
    with PrefetchClip(source, workers=2) as clip:
        clip[0]
        deadline = time.monotonic() + 20
        while len(source.decoded) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(source.decoded) >= 5
    assert all(name.startswith("prefetch") for name in source.threads)


def test_reading_at_random_decodes_nothing_ahead() -> None:
    source = CountingClip(40)
    with PrefetchClip(source) as clip:
        for index in (30, 11, 25, 6, 17):
            clip[index]
        time.sleep(0.05)
    assert sorted(source.decoded) == [6, 11, 17, 25, 30]


@pytest.mark.parametrize("order", ["forward", "backward", "random"])
def test_memory_is_bounded_whatever_the_order(order: str) -> None:
    with PrefetchClip(CountingClip(200), budget_bytes=10 * FRAME) as clip:
        indices = list(range(200))
        if order == "backward":
            indices.reverse()
        if order == "random":
            random.Random(0).shuffle(indices)
        for index in indices:
            clip[index]
            assert len(clip._cache) <= 10
        assert numbers(clip.read(indices)) == indices
        assert len(clip._cache) <= 10


def test_a_budget_below_two_frames_still_works() -> None:
    with PrefetchClip(CountingClip(20), budget_bytes=1) as clip:
        assert numbers(clip[:]) == list(range(20))
        assert len(clip._cache) <= 2


def test_an_error_surfaces_at_its_own_frame_only_and_again() -> None:
    source = CountingClip(20, bad=[5])
    with PrefetchClip(source) as clip:
        assert numbers(clip[:5]) == list(range(5))
        for _ in range(2):
            with pytest.raises(ClipError, match=r"frame \[5\] is bad"):
                clip[5]
        with pytest.raises(ClipError, match=r"frame \[5\] is bad"):
            clip[2:8]
        assert numbers(clip[6:]) == list(range(6, 20))
        source.bad = ()
        assert numbers(clip[5:6]) == [5]


def test_many_threads_with_a_tiny_cache() -> None:
    with PrefetchClip(CountingClip(50, delay=0.0005), workers=3, budget_bytes=4 * FRAME) as clip:

        def work(seed: int) -> bool:
            order = random.Random(seed).choices(range(50), k=40)
            return all(numbers(clip.read([i, (i + 1) % 50])) == [i, (i + 1) % 50] for i in order)

        with ThreadPoolExecutor(6) as pool:
            assert all(pool.map(work, range(6)))


def test_close_ends_the_threads_and_reading_may_go_on() -> None:
    clip = PrefetchClip(CountingClip())
    clip[:10]
    clip.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("prefetch")]
    assert numbers(clip[30:]) == list(range(30, 40))
    clip.close()


def _child(clip: Clip, queue: Any) -> None:
    queue.put(numbers(clip[3:6]))


def test_pickle_and_fork(tmp_path: Path) -> None:
    for i in range(8):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((4, 6, 3), i, np.uint8))
    with PrefetchClip(open_clip(tmp_path)) as clip:
        assert numbers(clip[:]) == list(range(8))
        assert numbers(pickle.loads(pickle.dumps(clip))[:]) == list(range(8))
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        process = context.Process(target=_child, args=(clip, queue))
        process.start()
        assert queue.get(timeout=60) == [3, 4, 5]
        process.join(60)


def test_identity_is_the_sources(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((4, 6), np.uint8))
    source = open_clip(tmp_path)
    clip = PrefetchClip(source)
    assert (clip.files(), clip.key, clip.notes) == (source.files(), source.key, source.notes)
    assert clip.notes


def test_a_video_is_decoded_in_order_by_one_thread(tmp_path: Path) -> None:
    frames = torch.randint(0, 256, (30, 3, 16, 16), dtype=torch.uint8)
    with open_writer(tmp_path / "a.mkv", "ffv1", 16, 16) as writer:
        writer.write(frames)
    with PrefetchClip(open_clip(tmp_path / "a.mkv"), workers=4) as clip:
        assert clip._workers == 1
        assert torch.equal(torch.cat(list(clip.blocks(7))), frames)
        assert torch.equal(clip.read([29, 3, 3]), frames[[29, 3, 3]])


def test_an_array_clip_is_not_changed() -> None:
    frames = torch.randint(0, 256, (9, 3, 5, 5), dtype=torch.uint8)
    with PrefetchClip(ArrayClip(frames)) as clip:
        assert torch.equal(clip[2:7], frames[2:7])
