"""Pages made from the cards: the tables ``methods/README.md`` and ``datasets/README.md``, and the facts of datasets.

``python -m stvsr_bench.report.catalogue`` writes them (`make readmes`); with ``--check`` it writes nothing, names the
pages that are not what the cards say, and leaves with exit status 1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stvsr_bench.core.atomic import atomic_write
from stvsr_bench.core.dataset_card import DatasetCard, Variant, VariantFact
from stvsr_bench.core.errors import BenchError
from stvsr_bench.core.method_card import Paper, Upstream
from stvsr_bench.core.paths import share_dir
from stvsr_bench.core.registry import Entry, Kind
from stvsr_bench.core.weight_card import WeightSpec
from stvsr_bench.report.dataset_page import KINDS, with_facts

_MADE = "Made from the cards by `make readmes`; do not edit."
_METHODS = f"""\
# Methods

{_MADE}

Each folder is one method: `card.yaml` holds the facts below and more, `config.yaml` its options, and its README what to
know before using it. φs and φt are the factors in space and time that a method can do. The licence is that of the code
here; those of an upstream project and of its weights stand beside them.

    stvsr-bench show NAME                       everything about one
    stvsr-bench run method=NAME dataset=demo    run it on the built-in clips
    stvsr-bench new method NAME                 start one of your own, see docs/adding.md
"""
_DATASETS = f"""\
# Datasets

{_MADE}

Each folder is one dataset: `card.yaml` holds the facts below and more, `config.yaml` its options, and its README the
facts with their certainty, how papers use it, and where to get it. Sizes are width × height of the ground truth, or of
the LQ clips where there is none; «?» marks what is inferred or remembered from the literature. A variant's name is part
of the dataset's id: `vid4[first31]`. Announced datasets are only described; the
last columns say what is missing.

    stvsr-bench list datasets                             what is on this machine, and where each is looked for
    stvsr-bench show NAME                                 everything about one
    stvsr-bench validate dataset NAME                     is it on disk, complete and readable?
    stvsr-bench run method=bicubic dataset=NAME           run on it ($STVSR_BENCH_DATA/NAME, or dataset.root=FOLDER)
"""


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


_STATUS = {
    "runnable": ("Runnable", "These run here and now."),
    "outputs-only": ("Outputs only", "Their own code runs elsewhere; what it wrote is scored here."),
    "announced, code here": (
        "Code without published parameters",
        "Their code is here; the last column says what is published nowhere. They run with `method.preset=tiny`, "
        "`method.allow_untrained=true` (neither is ever ranked) or a `method.checkpoint` of your own.",
    ),
    "announced": ("Announced", "Known and described, not yet here; the last column says what is missing."),
}
_KIND = {
    "synthetic": ("Synthetic", _sentence(KINDS["synthetic"])),
    "real": ("Real pairs", _sentence(KINDS["real"])),
    "no_gt": ("No ground truth", _sentence(KINDS["no_gt"])),
    None: ("Your own clips", "What a folder holds is seen from its files."),
    "announced": ("Announced", "Described, but nothing can be run on them."),
    "training": ("Training sets", f"{_sentence(KINDS['training'])} Nothing is run on them."),
}
_NONE = "–"


@dataclass(frozen=True)
class _Item:
    folder: Path
    card: Any


Columns = Mapping[str, Callable[[_Item], str]]


def _items(root: Path, kind: Kind) -> list[_Item]:
    """Return the methods or datasets whose folders lie below ``root``, by name."""
    folders = [path.parent for path in sorted((root / f"{kind}s").glob("*/card.yaml"))]
    return [_Item(folder, Entry(folder.name, kind, folder, "installed").card) for folder in folders]


def methods_page(root: Path) -> str:
    """Return the page of the methods below ``root``.

    Raises:
        CardError: a card breaks its schema.
    """
    items = sorted(_items(root, "method"), key=lambda e: ("vsr", "vfi", "stvsr").index(e.card.task))
    columns: dict[str, Callable[[_Item], str]] = {
        "name": _link,
        "task": lambda e: e.card.task,
        "φs": lambda e: _factors(e.card.scales),
        "φt": lambda e: _factors(e.card.time_scales),
        "what it is": lambda e: e.card.summary,
        "licence": lambda e: _NONE if e.card.entry is None else e.card.licence,
        "paper": lambda e: _paper(e.card.paper),
        "upstream": lambda e: _upstream(e.card.upstream),
        "weights": lambda e: _weights(e.card.weights),
        "missing": lambda e: e.card.missing or _NONE,
    }
    return _page(_METHODS, _STATUS, items, columns, lambda e: e.card.standing)


def datasets_page(root: Path) -> str:
    """Return the page of the datasets below ``root``.

    Raises:
        CardError: a card breaks its schema.
    """
    columns: dict[str, Callable[[_Item], str]] = {
        "name": _link,
        "kind": lambda e: e.card.kind if _kind(e) == "announced" else _NONE,
        "clips × frames": lambda e: _by_variant(e.card, _extent),
        "size": lambda e: _by_variant(e.card, _size),
        "what it is": lambda e: e.card.summary,
        "licence": lambda e: e.card.licence,
        "from": lambda e: e.card.source,
        "used by": lambda e: ", ".join(use.method for use in e.card.used_by) or _NONE,
        "missing": lambda e: e.card.missing or _NONE,
        "not reproducible": lambda e: e.card.not_reproducible or _NONE,
    }
    return _page(_DATASETS, _KIND, _items(root, "dataset"), columns, _kind)


def _kind(item: _Item) -> str | None:
    announced = item.card.status == "announced" and item.card.kind != "training"
    return "announced" if announced else item.card.kind


def _page(
    intro: str,
    groups: Mapping[str, tuple[str, str]] | Mapping[str | None, tuple[str, str]],
    items: Sequence[_Item],
    columns: Columns,
    group_of: Callable[[_Item], str | None],
) -> str:
    parts = [intro]
    for group, (title, meaning) in groups.items():
        members = [item for item in items if group_of(item) == group]
        if members:
            parts.append(f"## {title}\n\n{meaning}\n\n{_table(columns, members)}")
    return "\n".join(parts)


def _table(columns: Columns, items: Sequence[_Item]) -> str:
    cells = {name: [_cell(text(item)) for item in items] for name, text in columns.items()}
    shown = [name for name, column in cells.items() if any(cell != _NONE for cell in column)]
    rows = [shown, ["---"] * len(shown), *([cells[name][i] for name in shown] for i in range(len(items)))]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _link(item: _Item) -> str:
    name = item.folder.name
    return f"[{name}]({name}/{'README.md' if (item.folder / 'README.md').is_file() else 'card.yaml'})"


def _factors(values: tuple[int, ...] | None) -> str:
    return "any" if values is None else ", ".join(map(str, sorted(values)))


def _paper(paper: Paper | None) -> str:
    if paper is None:
        return _NONE
    address = f"https://doi.org/{paper.doi}" if paper.doi else None
    address = f"https://arxiv.org/abs/{paper.arxiv}" if paper.arxiv else address
    title = paper.title if address is None else f"[{paper.title}]({address})"
    return f"{title}, {paper.venue or paper.year}"


def _upstream(upstream: Upstream | None) -> str:
    if upstream is None:
        return _NONE
    name = upstream.repository.removeprefix("https://").removeprefix("github.com/").rstrip("/")
    return f"[{name}]({upstream.repository}) ({upstream.licence or 'no licence'})"


def _weights(weights: Iterable[WeightSpec]) -> str:
    licences = dict.fromkeys(w.licence or ("no licence stated" if w.published else "not published") for w in weights)
    return ", ".join(licences) or _NONE


def _by_variant(card: DatasetCard, text: Callable[[Variant], str]) -> str:
    if not card.variants:
        return _NONE
    texts = {name: text(variant) for name, variant in card.variants.items()}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "<br>".join(f"`{name}` {value}" for name, value in texts.items())


def _extent(variant: Variant) -> str:
    clips = f"{variant.n_clips}{_doubt(variant, 'n_clips')}"
    if variant.frames_about is not None:
        return f"{clips} × about {variant.frames_about}"
    if variant.frames is None:
        return f"{clips} × ?"
    frames = variant.frames.values() if isinstance(variant.frames, dict) else [variant.frames]
    return f"{clips} × {_range(frames)}{_doubt(variant, 'frames')}"


def _size(variant: Variant) -> str:
    if variant.size is None:
        return _NONE
    sizes = variant.size.values() if isinstance(variant.size, dict) else [variant.size]
    widths, heights = _range(width for _, width in sizes), _range(height for height, _ in sizes)
    return f"{widths} × {heights}{_doubt(variant, 'size')}"


def _doubt(variant: Variant, field: VariantFact) -> str:
    return "" if variant.certainty.get(field, "certain") == "certain" else "?"


def _range(values: Iterable[int]) -> str:
    known = sorted(values)
    return str(known[0]) if known[0] == known[-1] else f"{known[0]}–{known[-1]}"


def table_pages(root: Path) -> dict[Path, str]:
    """Return both tables as the cards below ``root`` make them, by the file they belong in."""
    return {root / "methods" / "README.md": methods_page(root), root / "datasets" / "README.md": datasets_page(root)}


def dataset_readmes(root: Path) -> dict[Path, str]:
    """Return the README of every dataset below ``root`` with its facts as the card makes them, by file."""
    readmes = {item.folder / "README.md": item.card for item in _items(root, "dataset")}
    return {
        path: with_facts(path.read_text(encoding="utf-8"), card) for path, card in readmes.items() if path.is_file()
    }


def stale_pages(root: Path) -> dict[Path, str]:
    """Return the pages below ``root`` that are absent or not what the cards say, with what they should be."""
    made = {**table_pages(root), **dataset_readmes(root)}.items()
    return {path: text for path, text in made if not path.is_file() or path.read_text(encoding="utf-8") != text}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the pages; return the exit status: 0 all is well, 1 a page is stale, 2 a card is broken."""
    parser = argparse.ArgumentParser(prog="python -m stvsr_bench.report.catalogue", description="Tables of the cards.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 when a page is stale")
    parser.add_argument("--root", type=Path, help="folder that holds methods/ and datasets/ (default: where cards lie)")
    options = parser.parse_args(arguments)
    try:
        stale = stale_pages(options.root or share_dir())
    except BenchError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    for path, text in stale.items():
        if options.check:
            sys.stdout.write(f"{path} is not what the cards say; run `make readmes`\n")
            continue
        with atomic_write(path) as file:
            file.write(text)
        sys.stdout.write(f"wrote {path}\n")
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
