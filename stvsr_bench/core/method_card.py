"""The facts about one method, as ``methods/<name>/card.yaml`` states them."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stvsr_bench.core.weight_card import WeightSpec

Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]
Status = Literal["runnable", "outputs-only", "announced"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Paper(_Model):
    """The publication to cite.

    Attributes:
        title: full title.
        venue: journal or conference with year; null where it is a preprint only.
        year: of the first public version.
        arxiv: arXiv id, without version.
        doi: without the resolver's address.
        authors: as the paper orders them; empty where not recorded here.
    """

    title: str
    venue: str | None
    year: Annotated[int, Field(ge=1900, le=2100)]
    arxiv: Annotated[str, Field(pattern=r"^\d{4}\.\d{4,5}$")] | None = None
    doi: str | None = None
    authors: tuple[str, ...] = ()


class Upstream(_Model):
    """The official repository.

    Attributes:
        repository: address.
        commit: what the facts of this card were read from.
        date: of that commit.
        licence: SPDX id of the code; null where the repository grants none.
        note: what a user must know about it.
    """

    repository: Annotated[str, Field(pattern=r"^https://")]
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{7,40}$")] | None
    date: datetime.date | None = None
    licence: str | None
    note: str | None = None


class Change(_Model):
    """One dated line of the card's history.

    Attributes:
        date: when.
        version: the method's version from then on.
        text: what a user sees of it.
    """

    date: datetime.date
    version: Count
    text: str


class MethodCard(_Model):
    """The facts about one method.

    Attributes:
        name: the folder's name.
        version: raised whenever a change moves a pixel; equals the class's ``version``.
        title: the name as people write it.
        summary: one sentence.
        task: ``vsr`` (φt = 1), ``vfi`` (φs = 1) or ``stvsr``.
        status: ``runnable``; ``outputs-only`` (frames made elsewhere can be scored); ``announced`` (known; what
            lacks, ``missing`` says).
        missing: what an ``announced`` method still lacks.
        entry: class that runs it, ``package.module:Class`` or ``file.py:Class`` beside the card. An ``announced``
            method that has one lacks only parameters: it runs untrained, or with a user's own.
        scales: the φs it can do; null for any whole factor.
        time_scales: the φt it can do, likewise.
        size_rule: LQ sizes it accepts by itself, in words.
        count_rule: frame counts it accepts by itself, in words.
        protocols: what ``protocol=auto`` prefers for it, by dataset name or kind (``synthetic``, ``real``, ``no_gt``);
            the first that fits, then the common choice for its task.
        deterministic: equal requests give equal pixels on one machine.
        needs_prompt: it wants a text beside the clip.
        parameters: number of parameters, of everything that inference needs unless the notes say otherwise.
        paper: what to cite; null for what has no paper.
        upstream: official repository; null for what has none.
        licence: of the code here.
        weights: parameters it needs.
        notes: traps that a user should know.
        changes: newest first; the newest one's version is the card's.
    """

    name: Name
    version: Count
    title: str
    summary: str
    task: Literal["vsr", "vfi", "stvsr"]
    status: Status
    missing: str | None = None
    entry: Annotated[str, Field(pattern=r"^[^:]+:[A-Za-z_]\w*$")] | None
    scales: tuple[Count, ...] | None = None
    time_scales: tuple[Count, ...] | None = None
    size_rule: str = "any size"
    count_rule: str = "any count"
    protocols: dict[Name, Annotated[tuple[str, ...], Field(min_length=1)]] = {}
    deterministic: bool
    needs_prompt: bool = False
    parameters: Count | None = None
    paper: Paper | None = None
    upstream: Upstream | None = None
    licence: str
    weights: tuple[WeightSpec, ...] = ()
    notes: tuple[str, ...] = ()
    changes: Annotated[tuple[Change, ...], Field(min_length=1)]

    @property
    def standing(self) -> str:
        """The status for tables, which tells announced methods that have code from those that have none."""
        return "announced, code here" if self.status == "announced" and self.entry is not None else self.status

    @model_validator(mode="after")
    def _parts_agree(self) -> MethodCard:
        if self.status == "announced" and self.missing is None:
            raise ValueError("'missing' says what an announced method lacks")
        if self.status != "announced" and (self.entry is None or self.missing is not None):
            raise ValueError(f"a method that is {self.status} has an entry and nothing missing")
        if self.task == "vsr" and self.time_scales != (1,):
            raise ValueError("task vsr: time_scales must be [1]")
        if self.task == "vfi" and self.scales != (1,):
            raise ValueError("task vfi: scales must be [1]")
        names = [weight.name for weight in self.weights]
        if len(set(names)) != len(names):
            raise ValueError(f"two weights share a name: {', '.join(names)}")
        for weight in self.weights if self.entry is not None else ():
            unpublished = self.status == "announced" and not weight.published
            if weight.faults() and not unpublished:
                raise ValueError(f"weight '{weight.name}' of a method with code lacks {', '.join(weight.faults())}")
        if self.changes[0].version != self.version:
            raise ValueError(
                f"version is {self.version}, but the newest change is of version {self.changes[0].version}"
            )
        dates = [change.date for change in self.changes]
        if dates != sorted(dates, reverse=True):
            raise ValueError("changes must stand newest first")
        return self
