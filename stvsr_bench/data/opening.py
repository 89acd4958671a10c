"""From the paths of one clip to an open source sample: every file opened, none decoded, every fault kept with it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from stvsr_bench.core.errors import BenchError, DataError, brief
from stvsr_bench.data.layout import ClipPaths, Layout
from stvsr_bench.data.lq_size import LqSizeError, read_lq
from stvsr_bench.data.sample import SourceSample

if TYPE_CHECKING:
    from stvsr_bench.video.clip import Clip


@dataclass(frozen=True)
class Opener:
    """How the clips of one dataset are opened.

    Attributes:
        dataset: the dataset's name, for messages.
        root: the folder that holds its files, for messages.
        layout: where the clips lie.
        lq_role: the LQ folders to use; ``None`` where there are none; the error where the choice is not clear.
        plain_role: what clips in no role folder serve as: ``gt``, ``lq``, or ``plain`` for either.
        frame_rate: frames per second where files do not say.
        lq_size: ``dataset.lq_size``.
        lq_at_gt_size: what the card says of it, for LQ without GT.
    """

    dataset: str
    root: Path
    layout: Layout
    lq_role: str | DataError | None
    plain_role: str
    frame_rate: Fraction | None
    lq_size: str | None
    lq_at_gt_size: bool

    def open(self, name: str, paths: ClipPaths) -> SourceSample:
        """Return the clip ``name``; what cannot be opened, or lacks its partner, stands in ``errors``."""
        from stvsr_bench.video.reading import open_clip

        clips: dict[str, Clip] = {}
        errors: dict[str, BenchError] = {}
        wanted = {"gt": paths.gt, self.plain_role: paths.plain} if paths.plain else {"gt": paths.gt}
        if isinstance(self.lq_role, DataError):
            errors["lq"] = self.lq_role
        elif self.lq_role is not None:
            wanted["lq"] = paths.lq.get(self.lq_role)
            if paths.lq.get(self.lq_role) is None:
                errors["lq"] = self._lonely(name, "LQ", self.lq_role)
        if paths.gt is None and self.layout.gt_role:
            errors["gt"] = self._lonely(name, "GT", self.layout.gt_role)
        for key, path in wanted.items():
            if path is None:
                continue
            try:
                clips[key] = clip = open_clip(path, name)
            except BenchError as error:
                errors[key] = error
                continue
            if clip.frame_rate is None:
                clip.frame_rate = self.frame_rate
        # A GT clip that is there and broken says nothing about sizes: its own error is the one to correct first.
        if "lq" in clips and not (paths.gt is not None and "gt" not in clips):
            try:
                clips["lq"] = read_lq(self.dataset, clips.get("gt"), clips["lq"], self.lq_size, self.lq_at_gt_size)
            except LqSizeError as error:
                errors["lq"] = error
                del clips["lq"]
        notes = tuple(dict.fromkeys(note for clip in clips.values() for note in clip.notes))
        return SourceSample(name, clips.get("gt"), clips.get("lq"), clips.get("plain"), errors, notes)

    def _lonely(self, name: str, what: str, role: str) -> DataError:
        names = [n for n, c in self.layout.clips.items() if (c.gt if what == "GT" else c.lq.get(role))]
        return DataError(
            f"clip '{name}' has no {what}",
            got=f"{what} ('{role}') of {brief(names)}",
            accepted="a clip of the same name, case-sensitive, in both",
            action=f"add or rename it below {self.root}",
        )


def cut(source: SourceSample, frames: int) -> SourceSample:
    """Return the first ``frames`` frames of every clip of ``source``; a note says what was longer."""

    def first(clip: Clip | None) -> Clip | None:
        return clip if clip is None or len(clip) <= frames else clip.select(range(frames))

    longest = max((len(c) for c in (source.gt, source.lq, source.plain) if c is not None), default=0)
    note = (f"the first {frames} of {longest} frames",) if longest > frames else ()
    return SourceSample(
        source.name, first(source.gt), first(source.lq), first(source.plain), source.errors, (*source.notes, *note)
    )


def facts(source: SourceSample) -> tuple[int, tuple[int, int]] | None:
    """Return frames and (rows, columns) of the clip that the card describes; ``None`` where it cannot be opened."""
    clip = source.gt or source.plain or source.lq
    if "gt" in source.errors and source.gt is None and source.plain is None:
        return None
    return None if clip is None else (len(clip), (clip.height, clip.width))
