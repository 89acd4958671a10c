"""Frame rules: which frames of a full-rate clip become LQ, which GT frame each output frame has; free of torch.

Three rules are known. ``every`` keeps frames 0, φt, 2φt … as one sequence; ``all`` keeps every frame and raises the
rate; ``windows(L, stride S)`` cuts the clip into windows of L full-rate frames, a new one every S frames, of which each
is restored on its own from its frames 0, φt, 2φt ….

Source: the common rule of VideoINR, VEnhancer and OSDEnhancer, and for windows BF-STVSR's GoPro test, which reads
frames i and i + 8, scores frames i … i + 8, goes on with i + 8 and drops an incomplete last window.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

_WINDOWS = re.compile(r"windows\((?P<length>[1-9]\d*), stride (?P<stride>[1-9]\d*)\)")

EVERY, ALL = "every", "all"


@dataclass(frozen=True)
class Windows:
    """The rule ``windows(length, stride)``, in frames of the full-rate clip.

    Attributes:
        length: frames of a window, its first and last are LQ frames.
        stride: frames from the start of one window to the start of the next.
    """

    length: int
    stride: int


@dataclass(frozen=True)
class FramePlan:
    """What a frame rule makes of a clip of so many frames.

    Attributes:
        lq: frames of the full-rate clip that are LQ, in order.
        gt: for each output frame the frame of the full-rate clip that is its GT; ``None`` where there is no GT. Frames
            that close one window and open the next occur twice.
        key_frames: output frames that have an LQ frame at their time.
        out_frames: number of output frames.
        windows: positions in ``lq`` that each window is restored from; ``None`` where the clip is one sequence.
        tail: which frames at the end no output covers, for people; ``None`` where there are none.
        notes: what else a user should know.
    """

    lq: range
    gt: Sequence[int] | None
    key_frames: Sequence[int]
    out_frames: int
    windows: tuple[range, ...] | None = None
    tail: str | None = None
    notes: tuple[str, ...] = ()


def parse_windows(rule: str) -> Windows | None:
    """Return the windows that ``rule`` names; ``None`` for ``every`` and ``all``.

    Raises:
        ValueError: ``rule`` is none of the known ones.

    >>> parse_windows("windows(9, stride 8)")
    Windows(length=9, stride=8)
    """
    if rule in (EVERY, ALL):
        return None
    found = _WINDOWS.fullmatch(rule)
    if found is None:
        raise ValueError(f"frame_rule '{rule}' is not known; accepted: every, all, windows(LENGTH, stride STRIDE)")
    return Windows(int(found["length"]), int(found["stride"]))


def window_faults(windows: Windows, time_scale: int) -> str | None:
    """Say why ``windows`` and φt do not go together, or ``None``.

    Both ends of a window must be LQ frames, and no frame may lie between two windows.
    """
    length, stride = windows.length, windows.stride
    if time_scale == 1 or length == 1 or (length - 1) % time_scale or stride % time_scale or stride >= length:
        return (
            "frame_rule windows needs time_scale > 1, a length of 1 + a multiple of time_scale, and a stride that is "
            "a multiple of time_scale below the length"
        )
    return None


def plan_frames(rule: str, frames: int, time_scale: int) -> FramePlan:
    """Return the LQ frames, GT frames and key frames of a clip.

    Under ``every`` N = floor((T - 1) / φt) + 1 of T frames are LQ and the output is frames 0 … (N - 1)·φt; the tail
    after them has no right neighbour and is not scored. Under ``windows`` the frames after the last whole window are
    not scored.

    Args:
        rule: a frame rule.
        frames: T, frames of the full-rate clip, at least 1.
        time_scale: φt.

    Raises:
        ValueError: the rule is not known, or the clip is shorter than one window.
    """
    windows = parse_windows(rule)
    if windows is not None:
        return _windowed(windows, frames, time_scale)
    if rule == ALL:
        out = (frames - 1) * time_scale + 1
        return FramePlan(range(frames), None, range(0, out, time_scale), out, notes=_alone(frames, time_scale))
    lq = range(0, frames, time_scale)
    out = lq[-1] + 1
    return FramePlan(
        lq,
        range(out),
        range(0, out, time_scale),
        out,
        tail=_tail(out, frames, "no right neighbour in LQ"),
        notes=_alone(len(lq), time_scale),
    )


def _windowed(windows: Windows, frames: int, time_scale: int) -> FramePlan:
    length = windows.length
    starts = range(0, frames - length + 1, windows.stride)
    if not starts:
        raise ValueError(f"{frames} frames hold no window of {length}")
    covered = starts[-1] + length
    each = (length - 1) // time_scale + 1
    count = f"{len(starts)} windows" if len(starts) > 1 else "one window"
    return FramePlan(
        lq=range(0, covered, time_scale),
        gt=tuple(chain.from_iterable(range(start, start + length) for start in starts)),
        key_frames=tuple(n * length + key for n in range(len(starts)) for key in range(0, length, time_scale)),
        out_frames=len(starts) * length,
        windows=tuple(range(start // time_scale, start // time_scale + each) for start in starts),
        tail=_tail(covered, frames, "no whole window"),
        notes=(
            f"{count} of {length} frames, a new one every {windows.stride}, each restored on its own; the output "
            "is all of them in a row",
        ),
    )


def _tail(first: int, frames: int, reason: str) -> str | None:
    if first == frames:
        return None
    if first == frames - 1:
        return f"GT frame {first} has {reason} and is not scored"
    return f"GT frames {first}-{frames - 1} have {reason} and are not scored"


def _alone(inputs: int, time_scale: int) -> tuple[str, ...]:
    return ("one LQ frame: there is nothing to interpolate",) if inputs == 1 and time_scale > 1 else ()
