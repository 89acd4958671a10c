"""The generic dataset: a card, a folder on disk, and the clips found there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from stvsr_bench.core.dataset_card import DEFAULT_VARIANT, OTHER_VARIANT, DatasetCard, DatasetKind, Variant
from stvsr_bench.core.errors import ConfigError, DataError, brief, nearest
from stvsr_bench.core.paths import DATA_VARIABLE, dataset_folder, user_path
from stvsr_bench.data.layout import Layout, detect_layout
from stvsr_bench.data.lq_size import LQ_SIZES, LqSizeError, check_lq_size, require_scale
from stvsr_bench.data.opening import Opener, cut, facts
from stvsr_bench.data.protocol import Protocol, Role, roles_of_kind
from stvsr_bench.data.sample import SourceSample
from stvsr_bench.data.variants import Seen, absent, closest, differences, left_out


@dataclass(frozen=True)
class _Content:
    """What was found on disk, opened and compared with the card."""

    sources: tuple[SourceSample, ...]
    variant: str
    differences: tuple[str, ...]
    absent: tuple[str, ...]
    notes: tuple[str, ...]


class Dataset:
    """A named list of clips on disk, described by its card.

    Nothing is read before it is asked for, and absent files are an error only then, so that a plan can say what is
    missing (:meth:`missing`). Subclasses override :meth:`locate` and :meth:`prepare`.

    Args:
        card: the facts.
        options: ``root`` (folder; default ``<data root>/<name>``), ``variant`` (default: the one whose frame counts
            match), ``lq_role`` (which LQ folders to use where there are several), ``lq_size`` (``gt`` or ``shrink4``:
            how LQ files of GT's size are read). ``card``, ``name``, ``clips``, ``frames`` and ``limit`` may be there
            too; the evaluation uses them.

    Raises:
        ConfigError: an unknown option or variant.
    """

    OPTIONS: ClassVar[frozenset[str]] = frozenset(
        {"card", "name", "root", "variant", "clips", "frames", "limit", "lq_role", "lq_size"}
    )

    def __init__(self, card: DatasetCard, options: Mapping[str, Any] | None = None) -> None:
        self.card = card
        self.options = dict(options or {})
        for key in self.options:
            if key not in self.OPTIONS:
                raise ConfigError(
                    f"dataset '{card.name}' has no option '{key}'",
                    accepted=f"nearest known: {', '.join(nearest(key, self.OPTIONS) or sorted(self.OPTIONS))}",
                )
        if card.kind is not None and self.options.get("name") not in (None, card.name):
            raise ConfigError(
                f"dataset '{card.name}' cannot be called otherwise",
                got=f"dataset.name={self.options['name']}",
                action="leave dataset.name out; for clips of your own use dataset=folder dataset.root=… dataset.name=…",
            )
        check_lq_size(self.options.get("lq_size"), card.name)
        asked = self.options.get("variant")
        if asked is not None and asked not in card.variants:
            raise ConfigError(
                f"dataset '{card.name}' has no variant '{asked}'",
                accepted=", ".join(card.variants) or "none: leave dataset.variant out",
                action="correct dataset.variant, or leave it out to have it recognised",
            )

    # ---------------------------------------------------------------- identity

    @property
    def name(self) -> str:
        """The name without variant."""
        return self.card.name

    @property
    def version(self) -> int:
        """The card's version."""
        return self.card.version

    @property
    def variant(self) -> str:
        """The variant asked for or recognised; ``"other"`` where the files are no known one.

        Where the files are absent: the one asked for, or ``"default"``.
        """
        if self.missing() is None:
            return self._content.variant
        return self.options.get("variant") or DEFAULT_VARIANT

    @property
    def id(self) -> str:
        """``name``, with marks in brackets for what makes other results of it.

        ``name[variant]`` for a variant with a name of its own, ``name[variant,BDx4]`` for LQ asked for,
        ``name[shrink4]`` for LQ that is shrunk before use.
        """
        shrunk = [LQ_SIZES[1]] if self.options.get("lq_size") == LQ_SIZES[1] else []
        return self._marked(*shrunk)

    @property
    def files_id(self) -> str:
        """The id of the files as they are stored, however ``lq_size`` reads them."""
        return self._marked()

    def _marked(self, *more: str) -> str:
        marks = [] if self.variant == DEFAULT_VARIANT else [self.variant]
        if self.options.get("lq_role") is not None:  # results on other LQ files must never share a row
            marks.append(str(self.options["lq_role"]))
        marks += more
        return f"{self.name}[{','.join(marks)}]" if marks else self.name

    @property
    def kind(self) -> DatasetKind:
        """Whether LQ is made from GT (``synthetic``), filmed with it (``real``), or stands alone (``no_gt``)."""
        if self.card.kind is None or self.card.kind == "training":
            raise ConfigError(
                f"the card of dataset '{self.name}' states no kind of test data", action="complete the card"
            )
        return self.card.kind

    @property
    def roles(self) -> frozenset[Role]:
        """What the files can serve as; where they are absent, what the kind implies."""
        if self.missing() is not None:
            return roles_of_kind(self.kind)
        clips = self.layout.clips.values()
        found: set[Role] = set()
        if any(clip.gt or (clip.plain and "gt" in self.plain_roles) for clip in clips):
            found.add("gt")
        if any(clip.lq or (clip.plain and "lq" in self.plain_roles) for clip in clips):
            found.add("lq")
        return frozenset(found)

    @property
    def plain_roles(self) -> frozenset[Role]:
        """What clips serve as that lie in no role folder: LQ where there is no GT, otherwise GT."""
        return frozenset({"lq"} if self.kind == "no_gt" else {"gt"})

    @property
    def expected(self) -> int | None:
        """Clips of the whole variant; ``None`` where nothing says so."""
        variant = self._expected_variant
        return variant.n_clips if variant else None

    @property
    def _expected_variant(self) -> Variant | None:
        return self.card.variants.get(self.variant) or next(iter(self.card.variants.values()), None)

    def canonical(self, clip: str) -> str:
        """Return the card's name of a clip, which renamed copies share; the clip's own where the card has none."""
        variant = self._expected_variant
        return variant.canonical(clip) if variant else clip

    # ---------------------------------------------------------------- files

    def locate(self) -> Path:
        """Return the folder that holds the files, whether or not it exists.

        ``dataset.root``, or the folder of the data root whose name is the dataset's or an alias, in any case.
        """
        if self.options.get("root") is not None:
            return user_path(self.options["root"])
        return dataset_folder(self.card.name, self.card.aliases)

    def prepare(self, root: Path) -> None:
        """Make the files, for datasets that can; called once, before they are first read."""

    def missing(self) -> DataError | None:
        """Return why the dataset cannot be read, or ``None``; the error says where to get it and where to put it."""
        return self._found if isinstance(self._found, DataError) else None

    @property
    def layout(self) -> Layout:
        """Where the clips lie.

        Raises:
            DataError: the files are absent, or laid out in an unknown way.
        """
        if isinstance(self._found, DataError):
            raise self._found
        return self._found

    @cached_property
    def _found(self) -> Layout | DataError:
        root = self.locate()
        try:
            self.prepare(root)
            if root.exists():
                return detect_layout(root)
        except DataError as error:
            return error
        return self.absence(root)

    def absence(self, root: Path) -> DataError:
        """Return the error for a ``root`` that does not exist: where to get the files and where to put them."""
        where = "" if self.options.get("root") is not None else f" (${DATA_VARIABLE} sets the folder above it)"
        get = f"get it from {' or '.join(self.card.urls)}" if self.card.urls else "get it from its authors"
        return DataError(
            f"dataset '{self.name}' is absent",
            got=f"no folder {root}{where}",
            accepted=f"one of the layouts {'; '.join(self.card.layouts)}" if self.card.layouts else None,
            action=f"{get} (licence: {self.card.licence}) and put it there, or pass dataset.root=FOLDER",
        )

    # ---------------------------------------------------------------- content

    def sources(self) -> list[SourceSample]:
        """Return every clip, open but not decoded, in the card's order, then in natural order.

        A clip that cannot be opened, or lacks its partner, carries the error and is returned all the same.

        Raises:
            DataError: the files are absent, laid out in an unknown way, or not the variant asked for.
        """
        return list(self._content.sources)

    @property
    def order(self) -> list[str]:
        """Names of the clips, in the order of :meth:`sources`."""
        return [source.name for source in self._content.sources]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a plan should tell about the files: variant, and what was seen and not used."""
        return self._content.notes

    @property
    def unranked(self) -> str | None:
        """Why results must not be ranked although every clip that is there may be scored; ``None`` for whole sets."""
        content = self._content
        if content.variant == OTHER_VARIANT:
            return f"the files are no known variant: {brief(content.differences)}"
        return f"missing: {brief(content.absent)}" if content.absent else None

    def check(self, protocol: Protocol) -> list[str]:
        """Return what the plan should tell about reading this dataset under ``protocol``.

        Raises:
            DataError: the files are absent; LQ is asked for and several kinds of it lie there, or none of it has a
                GT clip of its name.
        """
        layout = self.layout
        notes = list(self.notes)
        if protocol.needs == "gt":
            if layout.lq_roles:
                notes.append(
                    f"LQ on disk ({', '.join(layout.lq_roles)}) was seen and is not used: {protocol.id} makes its LQ "
                    "from GT"
                )
            return notes
        self._lq_role()
        paths = layout.clips.values()
        if layout.gt_role and layout.lq_roles and not any(clip.gt and clip.lq for clip in paths):
            raise DataError(
                f"dataset '{self.name}': no GT clip and LQ clip have the same name",
                got=f"GT: {brief([n for n, c in layout.clips.items() if c.gt])}; "
                f"LQ: {brief([n for n, c in layout.clips.items() if c.lq])}",
                accepted="equal clip names, case-sensitive; suffixes such as _GT and _LQ may differ",
                action=f"rename the folders below {self.locate()}",
            )
        self._check_lq_size(protocol)
        return notes

    @property
    def lq_scale(self) -> int | None:
        """How many times as large as LQ, as it is read, GT is, where that is one of the known factors for every pair.

        1 for LQ of GT's size under ``lq_size=gt``, 4 under ``shrink4``; ``None`` without pairs, and where the files or
        the missing choice leave it open.
        """
        from stvsr_bench.data.apply import scale_between

        pairs = [(s.lq, s.gt) for s in self._content.sources if s.lq is not None and s.gt is not None]
        found = {scale_between(lq, gt) for lq, gt in pairs}
        return next(iter(found)) if len(found) == 1 else None

    def _check_lq_size(self, protocol: Protocol) -> None:
        """Raise once for the dataset what would otherwise fail clip by clip: how LQ of GT's size is to be read.

        Raises:
            LqSizeError: nothing says how to read it, or the choice does not fit the files.
            IncompatibleError: what it says does not fit ``protocol``.
        """
        sources = self._content.sources
        faults = [error for source in sources if isinstance(error := source.errors.get("lq"), LqSizeError)]
        if faults and not any(source.lq for source in sources):
            raise faults[0]
        choice = self.options.get("lq_size")
        if choice is not None and any(source.lq for source in sources):
            require_scale(self.name, choice, protocol)

    def _lq_role(self) -> str | None:
        """Return the LQ folders to use.

        Raises:
            DataError: there are several and none is asked for, or the one asked for is not there.
        """
        roles, asked = self.layout.lq_roles, self.options.get("lq_role")
        if asked is None and len(roles) <= 1:
            return roles[0] if roles else None
        if asked in roles:
            return str(asked)
        raise DataError(
            f"dataset '{self.name}': which LQ is meant is not clear"
            if asked is None
            else f"dataset '{self.name}' holds no LQ called '{asked}'",
            got=f"LQ folders: {', '.join(roles) or 'none'}",
            accepted="one of them as dataset.lq_role" if roles else "folders of LQ clips beside GT",
            action=f"add dataset.lq_role={roles[0]}" if roles else "leave dataset.lq_role out",
        )

    @cached_property
    def _content(self) -> _Content:
        layout = self.layout
        role: str | DataError | None
        try:
            role = self._lq_role()
        except DataError as error:
            role = error
        opener = Opener(
            dataset=self.name,
            root=self.locate(),
            layout=layout,
            lq_role=role,
            plain_role=next(iter(self.plain_roles)) if len(self.plain_roles) == 1 else "plain",
            frame_rate=None if self.card.frame_rate is None else Fraction(self.card.frame_rate),
            lq_size=self.options.get("lq_size"),
            lq_at_gt_size=self.card.lq_at_gt_size,
        )
        unread = left_out(self.card.variants, self.options.get("variant"), layout.clips)
        opened = {name: opener.open(name, paths) for name, paths in layout.clips.items() if name not in unread}
        seen = {name: facts(source) for name, source in opened.items()}
        asked = self.options.get("variant")
        if asked is not None:
            most = self.card.variants[asked].cut_to
            if most is not None:
                opened = {name: cut(source, most) for name, source in opened.items()}
                seen = {name: facts(source) for name, source in opened.items()}
        variant, faults = self._recognise(seen, asked)
        notes = list(layout.notes)
        if unread:
            notes.append(f"{len(unread)} clips in the folder belong to no part of it and are left out")
        if variant not in (asked, DEFAULT_VARIANT, OTHER_VARIANT):
            notes.append(f"variant '{variant}' was recognised by its frame counts")
        if variant == OTHER_VARIANT:
            notes.append(f"the files are no known variant, so results are not ranked: {brief(faults)}")
        expected = self.card.variants.get(variant) or next(iter(self.card.variants.values()), None)
        lacking = absent(expected, seen) if expected else []
        if lacking:
            notes.append(f"missing: {brief(lacking)}")
        names = expected.names_for(seen) if expected else ()
        ordered = [*(n for n in names if n in opened), *(n for n in opened if n not in names)]
        return _Content(tuple(opened[n] for n in ordered), variant, tuple(faults), tuple(lacking), tuple(notes))

    def _recognise(self, seen: Seen, asked: str | None) -> tuple[str, list[str]]:
        variants = self.card.variants
        if not variants:
            return DEFAULT_VARIANT, []
        best, faults = closest(variants, seen)
        if asked is None:
            return (OTHER_VARIANT, faults) if faults else (best, [])
        wrong = differences(variants[asked], seen)
        if wrong:
            raise DataError(
                f"the files in {self.locate()} are not variant '{asked}' of dataset '{self.name}'",
                got=brief(wrong),
                accepted=f"what they are: variant '{best}'" if not faults else "the files of that variant",
                action="correct dataset.variant or dataset.root, or leave dataset.variant out",
            )
        return asked, []
