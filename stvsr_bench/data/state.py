"""What of a dataset lies on this machine, told from names alone: nothing is opened or decoded, and torch stays out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stvsr_bench.core.dataset_card import GENERIC_ENTRY, DatasetCard
from stvsr_bench.core.errors import DataError, brief
from stvsr_bench.core.paths import dataset_folder, user_path
from stvsr_bench.data.layout import ClipPaths, Layout, detect_layout
from stvsr_bench.data.variants import Seen, absent, closest, left_out
from stvsr_bench.video.names import IMAGE_EXTS, is_litter

State = Literal["present", "incomplete", "other", "absent", "unreadable", "announced", "built in", "yours", "not known"]

_MEANING: dict[State, str] = {
    "present": "as many clips and frames as the card lists; `prepare` also decodes them",
    "incomplete": "some of it is missing; runs on the rest, not ranked",
    "other": "no known variant; runs, not ranked",
    "absent": "no such folder",
    "unreadable": "a folder without clips in a known layout",
    "announced": "described only; cannot be run",
    "built in": "made on first use",
    "yours": "dataset.root says where",
    "not known": "read by a class of its own",
}


@dataclass(frozen=True)
class DatasetState:
    """What was found of one dataset.

    Attributes:
        state: ``present`` (as many clips and frames as the card lists), ``incomplete``, ``other`` (no known variant),
            ``absent``, ``unreadable`` (a folder without clips in a known layout), ``announced``, ``built in`` (made on
            first use), ``yours`` (``dataset.root`` says where) or ``not known`` (read by a class of its own).
        root: where it is looked for; ``None`` where nothing is.
        variant: the variant its files are; ``None`` where they are none.
        found: clips found; ``None`` where nothing was looked for.
        expected: clips of that variant, or of the card's first; ``None`` where the card does not say.
        details: what differs or is missing, in sentences.
    """

    state: State
    root: Path | None
    variant: str | None = None
    found: int | None = None
    expected: int | None = None
    details: tuple[str, ...] = ()

    @property
    def count(self) -> str | None:
        """Clips found and expected, «3 of 4»; ``None`` where nothing was looked for or nothing is there."""
        if self.found is None:
            return None
        return str(self.found) if self.expected is None else f"{self.found} of {self.expected}"

    @property
    def meaning(self) -> str:
        """What the state means, for people."""
        return _MEANING[self.state]


def dataset_state(card: DatasetCard, options: Mapping[str, Any] | None = None) -> DatasetState:
    """Look for the files of a dataset, as a run with these options would, but at names only.

    Clips are counted and named, and frames that are files are counted; sizes, videos and pixels are not looked at, so
    «present» promises no more than that.

    Args:
        card: its card.
        options: ``root`` and ``variant``, as in its ``config.yaml``.
    """
    expected = next((variant.n_clips for variant in card.variants.values()), None)
    if card.status == "announced":
        return DatasetState("announced", None, expected=expected, details=(card.missing or "",))
    root_option = (options or {}).get("root")
    if root_option in (None, "???") and card.kind is None:
        return DatasetState("yours", None)
    if card.entry != GENERIC_ENTRY and not card.built_in:
        return DatasetState("not known", None, expected=expected)
    root = dataset_folder(card.name, card.aliases) if root_option is None else user_path(root_option)
    if not root.exists():
        return DatasetState("built in" if card.built_in else "absent", root, expected=expected)
    try:
        layout = detect_layout(root)
        return _compare(card, (options or {}).get("variant"), root, layout)
    except DataError as error:
        if card.built_in and root.is_dir() and not any(not is_litter(entry.name) for entry in os.scandir(root)):
            return DatasetState("built in", root, expected=expected)
        return DatasetState("unreadable", root, expected=expected, details=(str(error),))


def _compare(card: DatasetCard, asked: str | None, root: Path, layout: Layout) -> DatasetState:
    unread = left_out(card.variants, asked, layout.clips)
    clips = {name: paths for name, paths in layout.clips.items() if name not in unread}
    details = []
    for role, wanted in (("GT", bool(layout.gt_role)), ("LQ", card.kind == "real")):
        lonely = [name for name, paths in clips.items() if wanted and not (paths.gt if role == "GT" else paths.lq)]
        if lonely:
            details.append(f"clips without {role}: {brief(lonely)}")
    if layout.gt_role:  # LQ that has no GT of its name is no clip of the dataset
        clips = {name: paths for name, paths in clips.items() if paths.gt}
    seen: Seen = {name: (_frames(paths), None) for name, paths in clips.items()}
    if not card.variants:
        return DatasetState("incomplete" if details else "present", root, None, len(seen), None, tuple(details))
    chosen = card.variants if asked is None else {asked: card.variants[asked]}
    if asked is not None and (cut := chosen[asked].cut_to) is not None:
        seen = {name: (min(facts[0], cut) if facts and facts[0] else None, None) for name, facts in seen.items()}
    name, faults = closest(chosen, seen)
    variant = card.variants[name]
    if faults:
        first = next(iter(card.variants.values()))
        return DatasetState("other", root, None, len(seen), first.n_clips, (*details, brief(faults)))
    lacking = absent(variant, seen)
    if lacking:
        details.append(f"missing: {brief(lacking)}")
    return DatasetState("incomplete" if details else "present", root, name, len(seen), variant.n_clips, tuple(details))


def _frames(paths: ClipPaths) -> int | None:
    """Count the frames of a clip, of GT where it has one; ``None`` for a video, which would have to be opened."""
    path = paths.gt or paths.plain or next(iter(paths.lq.values()))
    if not path.is_dir():
        return None
    try:
        with os.scandir(path) as entries:
            return sum(os.path.splitext(e.name)[1].lower() in IMAGE_EXTS and not is_litter(e.name) for e in entries)
    except OSError as error:
        raise DataError(
            f"cannot list the frames in '{path}'", got=error.strerror, action="correct its permissions"
        ) from error
