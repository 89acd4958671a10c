"""The facts about one dataset, as ``datasets/<name>/card.yaml`` states them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

DatasetKind = Literal["synthetic", "real", "no_gt"]
Certainty = Literal["certain", "inferred", "memory"]
Size = tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
"""Rows and columns."""

DEFAULT_VARIANT = "default"
OTHER_VARIANT = "other"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Variant(_Model):
    """One known subset or edition of a dataset, and how its files are recognised.

    Attributes:
        summary: one sentence for people.
        n_clips: how many clips the whole variant has.
        clips: their names in the order of published tables; empty where the names are not known.
        also_named: other sets of names that copies use, each in the same order.
        frames: frames of every clip, or of each by name; null where not known.
        size: rows and columns of every clip (of LQ where there is no GT), or of each by name; null where not known.
        cut_to: this variant is the first so many frames of a longer one; clips are cut when it is asked for by name.
        certainty: how sure ``n_clips``, ``frames`` and ``size`` are: certain (seen in code, files or the paper),
            inferred, or memory (of the literature).
    """

    summary: str
    n_clips: Annotated[int, Field(ge=1)]
    clips: tuple[str, ...] = ()
    also_named: tuple[tuple[str, ...], ...] = ()
    frames: Annotated[int, Field(ge=1)] | dict[str, int] | None = None
    size: Size | dict[str, Size] | None = None
    cut_to: Annotated[int, Field(ge=1)] | None = None
    certainty: dict[Literal["n_clips", "frames", "size"], Certainty] = {}

    @model_validator(mode="after")
    def _agree(self) -> Variant:
        for names in (self.clips, *self.also_named):
            if names and (len(names) != self.n_clips or len(set(names)) != self.n_clips):
                raise ValueError(f"n_clips is {self.n_clips}, but {len(set(names))} different names are listed")
        if self.also_named and not self.clips:
            raise ValueError("also_named needs clips")
        for field, table in (("frames", self.frames), ("size", self.size)):
            if isinstance(table, dict) and set(table) != set(self.clips):
                raise ValueError(f"{field} must list exactly the names of clips")
        return self

    def names_for(self, present: Iterable[str]) -> tuple[str, ...]:
        """Return the set of names (``clips`` or one of ``also_named``) that shares most with the ``present`` clips."""
        found = set(present)
        return max((self.clips, *self.also_named), key=lambda names: len(found & set(names)))

    def frames_of(self, clip: str) -> int | None:
        """Return the expected number of frames of ``clip``; ``None`` where the card does not know."""
        return self.frames.get(self._canonical(clip)) if isinstance(self.frames, dict) else self.frames

    def size_of(self, clip: str) -> Size | None:
        """Return the expected rows and columns of ``clip``; ``None`` where the card does not know."""
        return self.size.get(self._canonical(clip)) if isinstance(self.size, dict) else self.size

    def _canonical(self, clip: str) -> str:
        for names in self.also_named:
            if clip in names and clip not in self.clips:
                return self.clips[names.index(clip)]
        return clip


class Use(_Model):
    """How one paper uses the dataset.

    Attributes:
        method: the method's name in this project.
        how: scale, time scale, degradation and subset, as far as stated.
    """

    method: str
    how: str


class DatasetCard(_Model):
    """The facts about one dataset.

    Attributes:
        name: the folder's name; the dataset's id begins with it.
        version: raised whenever a change of card or code moves a number.
        title: the name as people write it.
        summary: one sentence.
        entry: class that reads it.
        kind: ``synthetic`` (GT; LQ is made from it), ``real`` (camera pairs of LQ and GT), ``no_gt`` (LQ only);
            null where only the files can tell.
        source: paper or repository it comes from.
        urls: where to get it; nothing is fetched by itself.
        layouts: folder layouts of the copies that circulate, for people.
        licence: licence or terms, as far as stated.
        frame_rate: frames per second where known, exact («24», «30000/1001»); used where files do not say.
        aliases: other names its folder may have under the data root; case never matters.
        variants: known subsets; the one called ``default`` has the bare name as its id, others ``name[variant]``.
        used_by: which papers use it, and how.
        notes: traps that a user should know.
        changes: dated lines, newest first, one for each raised version.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]
    version: Annotated[int, Field(ge=1)]
    title: str
    summary: str
    entry: str = "stvsr_bench.data.dataset:Dataset"
    kind: DatasetKind | None
    source: str
    urls: tuple[str, ...] = ()
    layouts: tuple[str, ...] = ()
    licence: str
    frame_rate: Annotated[str, Field(pattern=r"^[1-9]\d*(/[1-9]\d*)?$")] | None = None
    aliases: tuple[str, ...] = ()
    variants: dict[str, Variant] = {}
    used_by: tuple[Use, ...] = ()
    notes: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _variants_are_named(self) -> DatasetCard:
        if OTHER_VARIANT in self.variants:
            raise ValueError(f"a variant cannot be called '{OTHER_VARIANT}': that marks files no variant fits")
        return self
