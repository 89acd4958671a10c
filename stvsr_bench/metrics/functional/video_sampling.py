"""Which frames of a clip the video quality models look at."""

from __future__ import annotations

import numpy as np

from stvsr_bench.core.errors import MetricError


def fragment_indices(
    count: int, *, fragments: int, length: int, interval: int, rng: np.random.RandomState
) -> tuple[int, ...]:
    """Pick ``length`` frames, ``interval`` apart, from each of ``fragments`` equal stretches of a clip.

    A stretch that is longer than what is picked from it starts at a random frame; draws come in the order of the
    stretches. A clip that is too short is read in a circle.

    Args:
        count: frames of the clip.
        fragments: stretches.
        length: frames of each.
        interval: step between them.
        rng: numpy's legacy generator, because the reference draws from ``numpy.random``.

    Returns:
        ``fragments · length`` frame numbers.

    Raises:
        MetricError: the clip has no frames.

    Source: FAST-VQA's and DOVER's temporal sampler (``num_clips`` and ``t_frag`` are stretches there); the reference
    leaves the generator unseeded.

    >>> fragment_indices(7, fragments=2, length=4, interval=2, rng=np.random.RandomState(0))
    (0, 2, 4, 6, 3, 5, 0, 2)
    """
    _check(count)
    stretch = count // fragments
    spare = stretch - length * interval
    starts = stretch * np.arange(fragments)
    if spare > 0:
        starts = starts + rng.randint(0, spare, size=fragments)
    picked = starts[:, None] + interval * np.arange(length)
    return tuple(int(number) for number in picked.reshape(-1) % count)


def centred_indices(count: int, length: int) -> tuple[int, ...]:
    """Pick ``length`` consecutive frames from the middle of a clip; one that is too short is read in a circle.

    Raises:
        MetricError: the clip has no frames.

    >>> centred_indices(6, 3), centred_indices(2, 3)
    ((2, 3, 4), (0, 1, 0))
    """
    _check(count)
    start = max(0, (count - length + 1) // 2)
    return tuple((start + step) % count for step in range(length))


def _check(count: int) -> None:
    if count < 1:
        raise MetricError("frames cannot be picked from a clip", got=f"{count} frames", accepted="at least one")
