"""Which known variant of a dataset the files on disk are, judged by clip names, frame counts and sizes."""

from __future__ import annotations

from collections.abc import Mapping

from stvsr_bench.core.dataset_card import Size, Variant

Seen = Mapping[str, tuple[int, Size] | None]
"""Frames and (rows, columns) by clip name; ``None`` where the clip cannot be opened."""


def differences(variant: Variant, seen: Seen) -> list[str]:
    """Say in what the clips that are there contradict ``variant``; missing clips do not.

    >>> from stvsr_bench.core.dataset_card import Variant
    >>> differences(Variant(summary="x", n_clips=2, frames=31), {"a": (30, (8, 8))})
    ["clip 'a' has 30 frames, not 31"]
    """
    found = []
    names = variant.names_for(seen)
    if names:
        found += [f"clip '{name}' is not part of it" for name in seen if name not in names]
    elif len(seen) > variant.n_clips:
        found.append(f"{len(seen)} clips, not {variant.n_clips}{_doubt(variant, 'n_clips')}")
    for name, facts in seen.items():
        if facts is None or (names and name not in names):
            continue
        frames, size = facts
        want_frames, want_size = variant.frames_of(name), variant.size_of(name)
        if want_frames not in (None, frames):
            found.append(f"clip '{name}' has {frames} frames, not {want_frames}{_doubt(variant, 'frames')}")
        if want_size is not None and want_size != size:
            text = f"clip '{name}' has {size[0]} rows × {size[1]} columns, not {want_size[0]} × {want_size[1]}"
            found.append(text + _doubt(variant, "size"))
    return found


def _doubt(variant: Variant, fact: str) -> str:
    certainty = next((value for key, value in variant.certainty.items() if key == fact), "certain")
    return {"certain": "", "inferred": " (inferred)", "memory": " (from memory of the literature)"}[certainty]


def absent(variant: Variant, seen: Seen) -> list[str]:
    """Say which clips of ``variant`` are not there.

    >>> from stvsr_bench.core.dataset_card import Variant
    >>> absent(Variant(summary="x", n_clips=2), {"a": None})
    ['1 of 2 clips']
    """
    names = variant.names_for(seen)
    if names:
        return [f"clip '{name}'" for name in names if name not in seen]
    missing = variant.n_clips - len(seen)
    return [f"{missing} of {variant.n_clips} clips"] if missing > 0 else []


def closest(variants: Mapping[str, Variant], seen: Seen) -> tuple[str, list[str]]:
    """Return the first variant with the fewest differences, and those differences."""
    found = {name: differences(variant, seen) for name, variant in variants.items()}
    best = min(found, key=lambda name: len(found[name]))
    return best, found[best]
