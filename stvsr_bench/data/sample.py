"""Samples: what a dataset holds on disk, and what a protocol makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate
from typing import TYPE_CHECKING

from stvsr_bench.core.errors import BenchError

if TYPE_CHECKING:
    from stvsr_bench.data.generated import GeneratedClip
    from stvsr_bench.video.clip import Clip


@dataclass(frozen=True)
class SourceSample:
    """One clip as it lies on disk, before any protocol.

    Clips are open but not decoded. What could not be opened stands in ``errors`` instead of raising, so that a bad
    file fails its own clip only, and only under a protocol that reads it.

    Attributes:
        name: the clip's name in the dataset.
        gt: ground truth, full rate and size.
        lq: low-quality clip from disk.
        plain: a clip of which nothing says whether it is GT or LQ; the protocol decides what it serves as.
        errors: by role (``"gt"``, ``"lq"``), why that clip is absent although the dataset should have it.
        notes: what a user should know about the pixels and their files.
    """

    name: str
    gt: Clip | None = None
    lq: Clip | None = None
    plain: Clip | None = None
    errors: dict[str, BenchError] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """One benchmark item under a protocol: what a method gets and what its output is compared with.

    Attributes:
        name: the clip's name in the dataset.
        lq: what the method restores.
        gt: ground truth of exactly the output frames (frame i of the output is frame i of ``gt``), or ``None``. Under
            windows, frames that close one and open the next are there twice.
        scale: spatial factor φs: output rows = LQ rows · scale.
        time_scale: temporal factor φt.
        out_frames: frames of the output, ``(n - 1) · time_scale + 1`` for every sequence of ``n`` LQ frames.
        frame_rate: frames per second of the output, exact; ``None`` where the source does not say.
        scored: output frames that are scored.
        key_frames: output frames that have an LQ frame at their time.
        windows: positions in ``lq`` of the sequences that are restored on their own, one after another in the output;
            ``None`` where the clip is one sequence.
        generated: the whole generated clip that ``lq`` shows frames of; ``None`` where LQ comes from elsewhere.
        notes: what the plan tells: frames not scored, files seen and not used, how pixels were read.
    """

    name: str
    lq: Clip
    gt: Clip | None
    scale: int
    time_scale: int
    out_frames: int
    frame_rate: Fraction | None
    scored: range
    key_frames: Sequence[int]
    windows: tuple[range, ...] | None = None
    generated: GeneratedClip | None = None
    notes: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[range, ...]:
        """Positions in ``lq`` of every sequence that is restored on its own; one of the whole clip without windows."""
        return (range(len(self.lq)),) if self.windows is None else self.windows

    @property
    def outputs(self) -> tuple[range, ...]:
        """Output frames of each of :attr:`inputs`; no pair of frames is scored across their borders."""
        ends = list(accumulate((len(part) - 1) * self.time_scale + 1 for part in self.inputs))
        return tuple(range(start, stop) for start, stop in zip([0, *ends], ends, strict=False))

    def lq_position(self, frame: int) -> tuple[int, int]:
        """Return the LQ frame at or before the time of an output frame, and how many output frames it lies before."""
        for part, output in zip(self.inputs, self.outputs, strict=True):
            if frame in output:
                step, rest = divmod(frame - output.start, self.time_scale)
                return part[step], rest
        raise IndexError(f"clip '{self.name}': output frame {frame} of {self.out_frames}")
