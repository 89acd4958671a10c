"""Decoding every frame of a dataset once: what cannot be read, what looks wrong, and the hash of every pixel.

Frames are decoded and hashed by several threads, as decoding PNG takes most of the time and releases Python's lock. A
video is decoded in order by one thread, several videos at a time.
"""

from __future__ import annotations

import os
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from stvsr_bench.core.errors import BenchError, brief
from stvsr_bench.data.inventory import Item
from stvsr_bench.data.manifest import Entry
from stvsr_bench.video.clip import Clip, SelectedClip
from stvsr_bench.video.frames import FrameFolderClip
from stvsr_bench.video.hashed import digest_of
from stvsr_bench.video.images import read_image

CHUNK = 4  # frames of one folder that a thread takes at a time
BLOCK = 8  # frames of a video that are held at a time

Listen = Callable[[str, int, int], None]
"""Told how many frames of an item (by its label) are decoded, and how many it has."""


@dataclass(frozen=True)
class Checked:
    """What decoding one item gave.

    Attributes:
        item: the item.
        entry: its line of the manifest; ``None`` where a frame cannot be read.
        faults: what cannot be read, frame by frame.
        warnings: what a user should look at.
    """

    item: Item
    entry: Entry | None
    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Part:
    """Some frames of an item: their digests (``None`` for a frame that cannot be read), faults, and how they read."""

    digests: tuple[bytes | None, ...]
    faults: tuple[str, ...]
    notes: tuple[tuple[int, str], ...]


def decode(items: Sequence[Item], threads: int | None = None, listen: Listen | None = None) -> Iterator[Checked]:
    """Decode every frame of ``items`` and yield each item, in order, as soon as it is done.

    A frame that cannot be read fails its own item only, and the item's other frames are looked at all the same.

    Args:
        items: what to decode.
        threads: decoding threads; default: as many as this process may use.
        listen: told of progress, from any thread.
    """
    with ThreadPoolExecutor(threads or usable_cpus(), thread_name_prefix="decode") as pool:
        pending: list[tuple[Item, list[Future[_Part]]]] = []
        try:
            for item in items:
                pending.append((item, _submit(pool, item, listen)))
            for item, futures in pending:
                yield _join(item, [future.result() for future in futures])
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def usable_cpus() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _submit(pool: ThreadPoolExecutor, item: Item, listen: Listen | None) -> list[Future[_Part]]:
    clip = item.pixels
    if clip is None:
        return []
    count, done, lock = len(clip), 0, threading.Lock()

    def report(frames: int) -> None:
        nonlocal done
        with lock:
            done += frames
            if listen is not None:
                listen(item.label, done, count)

    paths = frame_paths(clip)
    if paths is None:
        return [pool.submit(_read_in_order, clip, report)]
    size = (clip.height, clip.width)
    return [
        pool.submit(_read_images, paths, range(start, min(start + CHUNK, count)), size, report)
        for start in range(0, count, CHUNK)
    ]


def frame_paths(clip: Clip) -> list[Path] | None:
    """Return the image file of every frame; ``None`` where frames are not files of their own."""
    if isinstance(clip, SelectedClip):
        below = frame_paths(clip.source)
        return None if below is None else [below[index] for index in clip.indices]
    return [Path(file) for file in clip.files()] if isinstance(clip, FrameFolderClip) else None


def _foreign(clip: Clip) -> tuple[str, ...]:
    if isinstance(clip, SelectedClip):
        return _foreign(clip.source)
    return clip.foreign if isinstance(clip, FrameFolderClip) else ()


def _read_images(paths: Sequence[Path], numbers: range, size: tuple[int, int], report: Callable[[int], None]) -> _Part:
    digests: list[bytes | None] = []
    faults, notes = [], []
    for number in numbers:
        try:
            image, remarks = read_image(paths[number])
        except BenchError as error:
            digests.append(None)
            faults.append(f"frame {number}: {error}")
        else:
            if image.shape[1:] == size:
                digests.append(digest_of(image))
            else:
                digests.append(None)
                faults.append(
                    f"frame {number} ('{paths[number].name}'): {image.shape[1]} rows × {image.shape[2]} columns, where "
                    f"the first frame has {size[0]} × {size[1]}"
                )
            notes += [(number, remark) for remark in remarks]
        report(1)
    return _Part(tuple(digests), tuple(faults), tuple(notes))


def _read_in_order(clip: Clip, report: Callable[[int], None]) -> _Part:
    digests: list[bytes | None] = []
    for start in range(0, len(clip), BLOCK):
        try:
            block = clip[start : start + BLOCK]
        except BenchError as error:
            # What lies behind damage in a video cannot be told from it.
            fault = f"frames {start}-{min(start + BLOCK, len(clip)) - 1}, and those behind them: {error}"
            return _Part((*digests, None), (fault,), ())
        digests += [digest_of(frame) for frame in block]
        report(len(block))
    return _Part(tuple(digests), (), ())


def _join(item: Item, parts: Sequence[_Part]) -> Checked:
    clip = item.pixels
    if clip is None:
        return Checked(item, None, faults=(str(item.error),))
    faults = tuple(fault for part in parts for fault in part.faults)
    paths = frame_paths(clip)
    # Image files are looked at one by one, so what the clip says of its first frame is said by that, too.
    warnings = list(clip.notes) if paths is None else [*_names(paths), *_remarks(parts, len(clip))]
    if foreign := _foreign(clip):
        warnings.append(f"{len(foreign)} files among the frames are no images and are left out: {brief(foreign)}")
    digests = [digest for part in parts for digest in part.digests]
    whole = [digest for digest in digests if digest is not None]
    entry = None if len(whole) < len(digests) else Entry.of(item.clip, item.role, (clip.height, clip.width), whole)
    return Checked(item, entry, faults, tuple(dict.fromkeys(warnings)))


def _remarks(parts: Sequence[_Part], count: int) -> list[str]:
    """Say how samples were changed when they were read, and in which frames."""
    frames: dict[str, list[int]] = defaultdict(list)
    for part in parts:
        for number, remark in part.notes:
            frames[remark].append(number)
    return [
        remark
        if len(numbers) == count
        else f"{remark} in {len(numbers)} of {count} frames, the first is frame {numbers[0]}"
        for remark, numbers in frames.items()
    ]


def _names(paths: Sequence[Path]) -> list[str]:
    """Say which frames have names that do not fit the others: foreign images, missing or doubled numbers."""
    forms = [re.sub(r"\d+", "#", path.stem) for path in paths]
    usual, count = Counter(forms).most_common(1)[0]
    strange = [path.name for path, form in zip(paths, forms, strict=True) if form != usual]
    found = []
    if strange and 2 * count > len(paths):
        found.append(
            f"{len(strange)} of {len(paths)} frames are named unlike the others and may be none: {brief(strange)}"
        )
    elif strange:
        return [f"the frames' names follow no common pattern; their order is that of {brief([p.name for p in paths])}"]
    numbered = [(int(found_in[-1]), path.name) for path in paths if (found_in := re.findall(r"\d+", path.stem))]
    if len(numbered) < len(paths):
        return found
    steps = [b - a for (a, _), (b, _) in pairwise(numbered)]
    step = Counter(steps).most_common(1)[0][0] if steps else 0
    gaps = [
        f"'{b}' follows '{a}'"
        for ((_, a), (_, b)), width in zip(pairwise(numbered), steps, strict=True)
        if width != step
    ]
    if gaps and not strange:
        found.append(f"frames are missing or there twice, as their numbers are not even: {brief(gaps)}")
    return found


def twins(checked: Sequence[Checked]) -> list[str]:
    """Say which clips hold the same pixels as others, wholly or for half of their frames or more."""
    entries = [c.entry for c in checked if c.entry is not None]
    labels = {(c.entry.clip, c.entry.role): c.item.label for c in checked if c.entry is not None}
    holders: dict[str, set[int]] = defaultdict(set)
    for number, entry in enumerate(entries):
        for mark in entry.marks:
            holders[mark].add(number)
    shared: Counter[tuple[int, int]] = Counter()
    for numbers in holders.values():
        listed = sorted(numbers)
        shared.update((a, b) for i, a in enumerate(listed) for b in listed[i + 1 :])
    found = []
    for (a, b), count in sorted(shared.items()):
        first, second = entries[a], entries[b]
        names = f"{labels[first.clip, first.role]} and {labels[second.clip, second.role]}"
        if first.sha256 == second.sha256:
            found.append(f"{names} hold the same pixels: two copies of one clip")
        elif 2 * count >= min(len(set(first.marks)), len(set(second.marks))):
            found.append(f"{names} share {count} frames: copies of one clip, or parts of it")
    return found
