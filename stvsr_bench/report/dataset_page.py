"""The part of ``datasets/<name>/README.md`` that its card makes: facts with their certainty, papers, files, notes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from stvsr_bench.core.dataset_card import DatasetCard, Size, Variant, VariantFact
from stvsr_bench.core.errors import CardError
from stvsr_bench.core.paths import DATA_VARIABLE

BEGIN = "<!-- facts: made from card.yaml by `make readmes`; do not edit up to the end mark -->"
END = "<!-- end of facts -->"

KINDS = {
    "synthetic": "ground truth only; a protocol makes the LQ clips from it",
    "real": "LQ and ground truth were filmed together",
    "no_gt": "LQ clips only, so full-reference metrics have no value",
    "training": "what methods learn from",
}
CERTAINTY = {"certain": "certain", "inferred": "inferred", "memory": "from memory of the literature"}
_LISTED = 12
"""Of more clips than this only the first and last names are printed."""


def with_facts(text: str, card: DatasetCard) -> str:
    """Return a README with what stands between its two marks made anew from the card.

    Args:
        text: the README; one without marks, as a plug-in may have, comes back as it is.
        card: the dataset's card.

    Raises:
        CardError: only one of the two marks is there, or they stand in the wrong order.
    """
    begin, end = text.find(BEGIN), text.find(END)
    if begin < 0 and end < 0:
        return text
    if not 0 <= begin < end:
        raise CardError(
            f"the README of dataset '{card.name}' has one mark of its facts, or they are in the wrong order",
            accepted=f"«{BEGIN}» and below it «{END}»",
            action="put both back",
        )
    return f"{text[:begin]}{BEGIN}\n{facts(card)}{text[end:]}"


def without_facts(text: str) -> str:
    """Return a README without what the card makes, for where the card itself is shown."""
    begin, end = text.find(BEGIN), text.find(END)
    return text if not 0 <= begin < end else f"{text[:begin]}{text[end + len(END) :].lstrip()}"


def facts(card: DatasetCard) -> str:
    """Return the made part of a dataset's README, as Markdown."""
    rows = list(_facts(card)) if card.kind is not None else []  # of a folder of one's own nothing is known beforehand
    parts = [_table(("fact", "value", "certainty"), rows)] if rows else []
    if card.used_by:
        uses = ((use.method, use.how, _code(use.protocols), CERTAINTY[use.certainty]) for use in card.used_by)
        parts.append(
            "**Papers**\n\n" + _table(("method", "how it uses the dataset", "protocols here", "certainty"), uses)
        )
    if card.status == "runnable" and card.kind is not None and not card.built_in:
        parts.append(f"**Files** go to `${DATA_VARIABLE}/{card.name}`, or `dataset.root=FOLDER` says where they are.")
    if card.urls:
        parts.append("Get them from\n\n" + _list(card.urls))
    if card.layouts:
        parts.append("Layouts\n\n" + _list(f"`{layout}`" for layout in card.layouts))
    if card.notes:
        parts.append("**To know**\n\n" + _list(card.notes))
    return "\n".join(part if part.endswith("\n") else part + "\n" for part in parts)


def _facts(card: DatasetCard) -> Iterator[tuple[str, str, str]]:
    if card.status == "announced":
        yield "status", f"announced, cannot be run; missing: {card.missing}", ""
    if card.not_reproducible:
        yield "reproducible", f"not reproducible: {card.not_reproducible}", ""
    yield "kind", f"`{card.kind}`: {KINDS[card.kind or 'training']}", CERTAINTY[card.certainty.get("kind", "certain")]
    for name, variant in card.variants.items():
        prefix = f"`{name}`: " if len(card.variants) > 1 else ""
        if prefix:
            yield f"`{name}`", variant.summary, ""
        yield from ((f"{prefix}{fact}", value, sure) for fact, value, sure in _variant(variant))
    if card.lq_at_gt_size:
        text = "stored at the size of the ground truth; `dataset.lq_size` must say how it is read"
        yield "LQ size", text, CERTAINTY[card.certainty.get("lq_at_gt_size", "certain")]
    rate = f"{card.frame_rate} per second" if card.frame_rate else "not known"
    yield "frame rate", rate, CERTAINTY[card.certainty.get("frame_rate", "certain")] if card.frame_rate else ""
    yield "licence", card.licence, CERTAINTY[card.certainty.get("licence", "certain")]
    yield "from", card.source, CERTAINTY[card.certainty.get("source", "certain")]


def _variant(variant: Variant) -> Iterator[tuple[str, str, str]]:
    def sure(fact: VariantFact) -> str:
        return CERTAINTY[variant.certainty.get(fact, "certain")]

    yield "clips", str(variant.n_clips), sure("n_clips")
    if variant.clips:
        yield "names", _names(variant.clips), sure("clips")
    for names in variant.also_named:
        yield "names in other copies", f"{_names(names)}, in the same order", sure("also_named")
    if isinstance(variant.frames, dict):
        yield "frames", ", ".join(f"{clip} {count}" for clip, count in variant.frames.items()), sure("frames")
    elif variant.frames is not None:
        yield "frames", str(variant.frames), sure("frames")
    elif variant.frames_about is not None:
        yield "frames", f"about {variant.frames_about}", sure("frames")
    else:
        yield "frames", "not known", ""
    if isinstance(variant.size, dict):
        yield "rows × columns", ", ".join(f"{clip} {_size(size)}" for clip, size in variant.size.items()), sure("size")
    else:
        yield "rows × columns", *((_size(variant.size), sure("size")) if variant.size else ("not known", ""))


def _size(size: Size) -> str:
    return f"{size[0]} × {size[1]}"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= _LISTED else f"{names[0]} to {names[-1]}"


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _list(items: Iterable[str]) -> str:
    return "".join(f"- {item}\n" for item in items)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(
        f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in row)} |\n" for row in lines
    )
