"""A part of a dataset, for trials: named clips, the first N clips, a slice of every clip's frames."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stvsr_bench.core.errors import BenchError, ConfigError, DataError, UnknownNameError
from stvsr_bench.data.sample import SourceSample
from stvsr_bench.video.clip import Clip

OPTIONS = ("clips", "frames", "limit")
"""The options of a dataset that select a part of it."""

_SLICE = re.compile(r"(\d*):(\d*)(?::([1-9]\d*)?)?")


@dataclass(frozen=True)
class Selection:
    """What a trial takes of a dataset; results are marked partial and never ranked.

    Attributes:
        clips: names of clips; ``None`` for all.
        frames: frames of every clip, before the protocol takes any; ``None`` for all.
        limit: most clips; ``None`` for all.
    """

    clips: tuple[str, ...] | None = None
    frames: str | None = None
    limit: int | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Selection:
        """Return the selection that a dataset's options name.

        Raises:
            ConfigError: a value is not accepted.
        """
        clips, frames, limit = (options.get(key) for key in OPTIONS)
        if clips is not None:
            items = clips.strip("[]").split(",") if isinstance(clips, str) else clips
            if not isinstance(items, list | tuple) or not items or not all(str(item).strip() for item in items):
                raise ConfigError(
                    "dataset.clips names no clips", got=repr(clips), accepted="NAME,NAME,… as `--dry-run` lists them"
                )
            clips = tuple(dict.fromkeys(str(item).strip() for item in items))
        if frames is not None and (not isinstance(frames, str) or not _SLICE.fullmatch(frames)):
            raise ConfigError(
                "dataset.frames is no slice of frames",
                got=repr(frames),
                accepted="A:B or A:B:STEP as Python slices have them, A and B from 0 or empty, STEP from 1",
                action="for example dataset.frames=0:9 for the first nine frames, dataset.frames=::3 for every third",
            )
        if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
            raise ConfigError(
                "dataset.limit is not a count of clips", got=repr(limit), accepted="a whole number from 1"
            )
        return cls(clips, frames, limit)

    def apply(self, sources: Sequence[SourceSample], dataset: str) -> tuple[list[SourceSample], str | None]:
        """Return the selected clips in the dataset's order, and what makes them a part of it (``None``: they are all).

        Args:
            sources: every clip.
            dataset: its name, for messages.

        Raises:
            UnknownNameError: the dataset has no clip of a name; the nearest are listed.
        """
        kept = list(sources)
        parts = []
        if self.clips is not None:
            known = [source.name for source in sources]
            for name in self.clips:
                if name not in known:
                    raise UnknownNameError(
                        "clip", name, known, f"correct dataset.clips; dataset '{dataset}' has no such clip"
                    )
            kept = [source for source in kept if source.name in self.clips]
            if len(kept) < len(sources):
                parts.append(f"dataset.clips={','.join(source.name for source in kept)}")
        if self.limit is not None and self.limit < len(kept):
            kept = kept[: self.limit]
            parts.append(f"dataset.limit={self.limit}")
        if self.frames is not None:
            kept = [self._cut(source) for source in kept]
            parts.append(f"dataset.frames={self.frames}")
        return kept, " ".join(parts) or None

    def _cut(self, source: SourceSample) -> SourceSample:
        """The same slice of every clip of the sample; one that it leaves empty becomes an error of that clip."""
        match = _SLICE.fullmatch(str(self.frames))
        assert match is not None
        frames = slice(*(int(group) if group else None for group in match.groups()))
        errors: dict[str, BenchError] = dict(source.errors)

        def cut(role: str, clip: Clip | None) -> Clip | None:
            if clip is None:
                return None
            indices = range(len(clip))[frames]
            if indices:
                return clip.select(indices, clip.frame_rate / indices.step if clip.frame_rate else None)
            errors[role] = DataError(
                f"clip '{source.name}': no frame is left of its {len(clip)}",
                got=f"dataset.frames={self.frames}",
                accepted=f"a part of 0:{len(clip)}",
            )
            return None

        return replace(
            source,
            gt=cut("gt", source.gt),
            lq=cut("lq", source.lq),
            plain=cut("plain", source.plain),
            errors=errors,
            notes=(*source.notes, f"only frames {self.frames} of the source are used"),
        )
