"""The facts about one dataset, as ``datasets/<name>/card.yaml`` states them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

DatasetKind = Literal["synthetic", "real", "no_gt"]
"""What the clips of a dataset are that a method can be run on."""

CardKind = Literal[DatasetKind, "training"]
"""What a card describes; ``training`` sets are described so that users know what a method has seen."""

Certainty = Literal["certain", "inferred", "memory"]
Size = tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
"""Rows and columns."""

VariantFact = Literal["n_clips", "clips", "also_named", "frames", "size"]
CardFact = Literal["kind", "source", "licence", "frame_rate", "lq_at_gt_size", "layouts"]

DEFAULT_VARIANT = "default"
OTHER_VARIANT = "other"
GENERIC_ENTRY = "stvsr_bench.data.dataset:Dataset"
"""The class that reads a dataset whose card names none."""


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
        frames_about: frames of a clip where the source says only «about so many»; a clip may differ by an eighth.
        size: rows and columns of every clip (of LQ where there is no GT), or of each by name; null where not known.
        cut_to: this variant is the first so many frames of a longer one; clips are cut when it is asked for by name.
        among_others: its clips may lie among others, which are left out when the variant is asked for by name or is
            the card's only one.
        certainty: how sure a fact is: certain (seen in code, files or the paper), inferred, or memory (of the
            literature); what is not listed is certain.
    """

    summary: str
    n_clips: Annotated[int, Field(ge=1)]
    clips: tuple[str, ...] = ()
    also_named: tuple[tuple[str, ...], ...] = ()
    frames: Annotated[int, Field(ge=1)] | dict[str, int] | None = None
    frames_about: Annotated[int, Field(ge=1)] | None = None
    size: Size | dict[str, Size] | None = None
    cut_to: Annotated[int, Field(ge=1)] | None = None
    among_others: bool = False
    certainty: dict[VariantFact, Certainty] = {}

    @model_validator(mode="after")
    def _agree(self) -> Variant:
        if self.frames is not None and self.frames_about is not None:
            raise ValueError("frames and frames_about exclude one another")
        if self.among_others and not self.clips:
            raise ValueError("among_others needs clips, to know them from the others")
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

    def wrong_frames(self, clip: str, frames: int) -> str | None:
        """Return what the card expects of ``clip`` instead of ``frames`` frames; ``None`` where they fit.

        >>> Variant(summary="x", n_clips=1, frames_about=32).wrong_frames("a", 25)
        'about 32'
        """
        want = self.frames_of(clip)
        if want is not None:
            return None if frames == want else str(want)
        if self.frames_about is None or 8 * abs(frames - self.frames_about) <= self.frames_about:
            return None
        return f"about {self.frames_about}"

    def frames_of(self, clip: str) -> int | None:
        """Return the expected number of frames of ``clip``; ``None`` where the card does not know."""
        return self.frames.get(self.canonical(clip)) if isinstance(self.frames, dict) else self.frames

    def size_of(self, clip: str) -> Size | None:
        """Return the expected rows and columns of ``clip``; ``None`` where the card does not know."""
        return self.size.get(self.canonical(clip)) if isinstance(self.size, dict) else self.size

    def canonical(self, clip: str) -> str:
        """Return the name in ``clips`` of a clip that a copy may call otherwise; its own name where none is known."""
        for names in self.also_named:
            if clip in names and clip not in self.clips:
                return self.clips[names.index(clip)]
        return clip


class Use(_Model):
    """How one paper uses the dataset.

    Attributes:
        method: the method's name in this project.
        how: scale, time scale, degradation and subset, as far as stated.
        protocols: ids of the protocols here that come closest.
        certainty: how sure ``how`` is.
    """

    method: str
    how: str
    protocols: tuple[str, ...] = ()
    certainty: Certainty = "certain"


class DatasetCard(_Model):
    """The facts about one dataset.

    Attributes:
        name: the folder's name; the dataset's id begins with it.
        version: raised whenever a change of card or code moves a number.
        title: the name as people write it.
        summary: one sentence.
        status: ``runnable``, or ``announced``: described, but nothing can be run on it.
        missing: what an ``announced`` dataset lacks.
        not_reproducible: why published values on it cannot be reproduced by anyone, whatever is downloaded.
        entry: class that reads it.
        built_in: that class makes the clips itself on first use, so that absent files are no fault.
        kind: ``synthetic`` (GT; LQ is made from it), ``real`` (camera pairs of LQ and GT), ``no_gt`` (LQ only),
            ``training`` (what methods learn from; announced only); null where only the files can tell.
        source: paper or repository it comes from.
        urls: where to get it; nothing is fetched by itself.
        layouts: folder layouts of the copies that circulate, for people.
        licence: licence or terms, as far as stated.
        lq_at_gt_size: LQ files have the rows and columns of GT, so that ``dataset.lq_size`` must say how to read them.
        frame_rate: frames per second where known, exact («24», «30000/1001»); used where files do not say.
        aliases: other names its folder may have under the data root; case never matters.
        certainty: how sure facts of the card itself are, as in a variant.
        variants: known subsets; the one called ``default`` has the bare name as its id, others ``name[variant]``.
        used_by: which papers use it, and how.
        notes: traps that a user should know.
        changes: dated lines, newest first, one for each raised version.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]
    version: Annotated[int, Field(ge=1)]
    title: str
    summary: str
    status: Literal["runnable", "announced"] = "runnable"
    missing: str | None = None
    not_reproducible: str | None = None
    entry: str = GENERIC_ENTRY
    built_in: bool = False
    kind: CardKind | None
    source: str
    urls: tuple[str, ...] = ()
    layouts: tuple[str, ...] = ()
    licence: str
    lq_at_gt_size: bool = False
    frame_rate: Annotated[str, Field(pattern=r"^[1-9]\d*(/[1-9]\d*)?$")] | None = None
    aliases: tuple[str, ...] = ()
    certainty: dict[CardFact, Certainty] = {}
    variants: dict[str, Variant] = {}
    used_by: tuple[Use, ...] = ()
    notes: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _parts_agree(self) -> DatasetCard:
        if (self.status == "announced") != (self.missing is not None):
            raise ValueError("'missing' says what an announced dataset lacks, and belongs to no other")
        if self.kind == "training" and self.status != "announced":
            raise ValueError("kind training: nothing is run on it, so its status is announced")
        if self.lq_at_gt_size and self.kind != "real":
            raise ValueError("lq_at_gt_size belongs to kind: real, whose files hold LQ")
        if OTHER_VARIANT in self.variants:
            raise ValueError(f"a variant cannot be called '{OTHER_VARIANT}': that marks files no variant fits")
        return self
