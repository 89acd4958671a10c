"""Which known variant of a dataset the files on disk are, judged by clip names, frame counts and sizes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from stvsr_bench.core.dataset_card import Size, Variant, VariantFact

Seen = Mapping[str, tuple[int | None, Size | None] | None]
"""Frames and (rows, columns) by clip name; ``None`` where the clip cannot be opened, or for what was not looked at."""


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
        want_frames = None if frames is None else variant.wrong_frames(name, frames)
        want_size = variant.size_of(name)
        if want_frames is not None:
            found.append(f"clip '{name}' has {frames} frames, not {want_frames}{_doubt(variant, 'frames')}")
        if size is not None and want_size not in (None, size):
            text = f"clip '{name}' has {size[0]} rows × {size[1]} columns, not {want_size[0]} × {want_size[1]}"
            found.append(text + _doubt(variant, "size"))
    return found


def _doubt(variant: Variant, fact: VariantFact) -> str:
    certainty = variant.certainty.get(fact, "certain")
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
    missing = absent_count(variant, seen)
    return [f"{missing} of {variant.n_clips} clips"] if missing > 0 else []


def absent_count(variant: Variant, seen: Seen) -> int:
    """Return how many clips of ``variant`` are not there."""
    names = variant.names_for(seen)
    return sum(name not in seen for name in names) if names else max(0, variant.n_clips - len(seen))


def left_out(variants: Mapping[str, Variant], asked: str | None, present: Collection[str]) -> set[str]:
    """Return the clips that are not read because the variant asked for, or the only one, lies among others.

    >>> reds4 = Variant(summary="x", n_clips=2, clips=("000", "011"), among_others=True)
    >>> sorted(left_out({"default": reds4}, None, ["000", "001", "002", "011"]))
    ['001', '002']
    """
    variant = variants.get(asked) if asked is not None else next(iter(variants.values()), None)
    if variant is None or not variant.among_others or (asked is None and len(variants) > 1):
        return set()
    names = set(variant.names_for(present))
    return set(present) - names if names & set(present) else set()


def closest(variants: Mapping[str, Variant], seen: Seen) -> tuple[str, list[str]]:
    """Return the variant with the fewest differences, and these; of equals the most complete, then the first.

    >>> some = {n: Variant(summary="x", n_clips=len(n), clips=tuple(n)) for n in ("abc", "ab")}
    >>> [closest(some, {clip: (1, (8, 8)) for clip in present})[0] for present in ("abc", "ab", "ac")]
    ['abc', 'ab', 'abc']
    """
    found = {name: differences(variant, seen) for name, variant in variants.items()}
    best = min(found, key=lambda name: (len(found[name]), absent_count(variants[name], seen)))
    return best, found[best]
