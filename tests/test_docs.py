"""The pages for users are true: links lead somewhere, commands exist, tables are what the code does."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import click
import pytest
import yaml
from pydantic import BaseModel, model_validator

from stvsr_bench.cli.app import COMMANDS, app
from stvsr_bench.core import registry
from stvsr_bench.core.dataset_card import DatasetCard, DatasetKind
from stvsr_bench.core.errors import IncompatibleError
from stvsr_bench.core.weight_card import WeightSpec
from stvsr_bench.data.protocol import AUTO, Protocol, fits, known_protocols, load_protocol, resolve_auto
from stvsr_bench.degradation.registry import DEGRADATIONS
from stvsr_bench.metrics.registry import metric_info

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("docs", "methods", "datasets", "results/golden", "results/reported")
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])
EXAMPLES = {"NAME", "FOLDER", "my_net", "my_set", "mae_rgb", "bi-x2", "KIND", "GROUP"}


def names(pages: list[Path]) -> list[str]:
    """Return short names for test ids."""
    return [str(page.relative_to(ROOT)) for page in pages]


def commands(text: str) -> list[list[str]]:
    """Return every stvsr-bench command of a page, split as a shell would."""
    found = []
    for line in text.splitlines():
        match = re.match(r"\s*(?:\S+/)?stvsr-bench (?!\.\.\.)(.+)", line) if "`" not in line else None
        quoted = [match[1]] if match else re.findall(r"`stvsr-bench ([^`]+)`", line)
        found += [shlex.split(text, comments=True) for text in quoted]
    return found


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_commands_exist(page: Path) -> None:
    methods, datasets = registry.methods(), registry.datasets()
    known = {
        "method": {*methods, *EXAMPLES},
        "method.vsr": set(methods),
        "method.vfi": set(methods),
        "dataset": {*datasets, *EXAMPLES},
        "protocol": {*known_protocols(), AUTO, *EXAMPLES},
        "metrics": {path.stem for path in (ROOT / "conf" / "metrics").glob("*.yaml")} | EXAMPLES,
    }
    for words in commands(page.read_text(encoding="utf-8")):
        if words[0].startswith("-"):
            continue
        assert words[0] in COMMANDS, words
        command = app.get_command(click.Context(app), words[0])
        assert command is not None
        options = {option for parameter in command.params for option in parameter.opts}
        for word in words[1:]:
            if word.startswith("-"):
                assert word.split("=")[0] in options | {"--help"}, words
            key, _, value = word.lstrip("+").partition("=")
            for name in value.split(",") if key in known and value else ():
                assert name in known[key] or name.endswith("…"), words
            for name in re.findall(r"[\w.]+", value) if key == "metrics.ids" else ():
                assert name in EXAMPLES or metric_info(name), words


def test_commands_are_found_on_the_pages() -> None:
    found = [words for page in PAGES for words in commands(page.read_text(encoding="utf-8"))]
    assert len(found) > 40
    assert {words[0] for words in found} >= {
        "run",
        "leaderboard",
        "restore",
        "score",
        "check",
        "new",
        "validate",
        "doctor",
    }


def table_after(text: str, mark: str) -> list[list[str]]:
    """Return the cells of the table below a mark, without its head, backticks dropped."""
    block = text.split(f"<!-- {mark}:", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    rows = [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in block]
    return rows[2:]


def test_the_table_of_protocols_is_what_they_are() -> None:
    rows = table_after((ROOT / "docs" / "protocols.md").read_text(encoding="utf-8"), "protocols")
    linked = [re.fullmatch(r"\[(.+)\]\(protocols/(.+)\.md\)", row[0]) for row in rows]
    assert all(link is not None and link[1] == link[2] for link in linked)
    names = [link[1] for link in linked if link is not None]
    assert sorted(names) == known_protocols()
    for name, (source, scale, time_scale, frames, tasks) in zip(names, (row[1:] for row in rows), strict=True):
        protocol = load_protocol(name)
        step = protocol.time_scale
        sources = {"generate": f"{protocol.degradation} of GT", "gt": "GT at full size", "given": "from disk"}
        kept = "every" if step == 1 else f"0, {step}, {2 * step} …"
        kept = {"every": kept, "all": "every, rate doubled"}.get(protocol.frame_rule, protocol.frame_rule)
        expected = [sources[protocol.source], str(protocol.scale), str(step), kept, ", ".join(protocol.tasks)]
        assert [source, scale, time_scale, frames, tasks] == expected, name


def test_the_table_of_degradations_is_what_they_are() -> None:
    rows = table_after((ROOT / "docs" / "degradations.md").read_text(encoding="utf-8"), "degradations")
    expected = [[d.id, str(d.version), "frames" if d.per_frame else "clips"] for d in DEGRADATIONS.values()]
    assert [row[:3] for row in rows] == expected


AUTO_CASES: tuple[tuple[DatasetKind, int | None], ...] = (
    ("synthetic", None),
    ("real", 4),
    ("real", 1),
    ("no_gt", None),
)


def test_the_table_of_auto_is_what_it_does() -> None:
    rows = table_after((ROOT / "docs" / "protocols.md").read_text(encoding="utf-8"), "auto")
    cards = {name: entry.card for name, entry in registry.methods().items()}
    families = {name: card for name, card in cards.items() if card.protocols}
    special = {f"{name} on {key}" for name, card in families.items() for key in card.protocols} - {
        f"{name} on {kind}" for name in families for kind, _ in AUTO_CASES
    }
    assert {row[0] for row in rows} == {"any vsr", "any vfi", "any stvsr", *families, *special}
    for who, *cells in rows:
        method, _, dataset = who.partition(" on ")
        if method in cards:
            card = cards[method]
            task, scales, time_scales, preferred = card.task, card.scales, card.time_scales, card.protocols
        else:
            task, preferred = method.removeprefix("any "), {}
            scales, time_scales = ((1,) if task == "vfi" else None), ((1,) if task == "vsr" else None)
        for (kind, lq_scale), cell in zip(AUTO_CASES, cells, strict=True):
            if cell == "–":
                assert registry.datasets()[dataset].card.kind != kind
                continue
            facts = (method, task, scales, time_scales, dataset or "d", kind)
            try:
                found = resolve_auto(*facts, preferred=preferred, lq_scale=lq_scale).id
            except IncompatibleError:
                found = "none"
            assert found == cell, (who, kind, lq_scale)


def test_cards_prefer_protocols_that_exist_for_datasets_that_exist() -> None:
    keys = {*registry.datasets(), "synthetic", "real", "no_gt"}
    for name, entry in registry.methods().items():
        for key, protocols in entry.card.protocols.items():
            assert key in keys, name
            for protocol in map(load_protocol, protocols):
                card = entry.card
                assert fits(protocol, card.task, card.scales, card.time_scales), (name, protocol.id)


class Weights(BaseModel):
    """The field ``weights`` of a card, complete enough to be fetched."""

    weights: list[WeightSpec]

    @model_validator(mode="after")
    def _complete(self) -> Weights:
        assert [spec.faults() for spec in self.weights] == [[]]
        return self


def blocks(language: str) -> list[str]:
    """Return the code blocks of docs/adding.md in one language."""
    text = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_examples_of_cards_and_protocols_are_valid() -> None:
    schemas = {
        "# dataset card": DatasetCard,
        "# protocol": Protocol,
        "# weights of a card": Weights,
        "# weights that are folders": Weights,
    }
    checked = 0
    for text in blocks("yaml"):
        schema = schemas.get(text.partition("\n")[0])
        if schema is not None:
            schema.model_validate(yaml.safe_load(text))
            checked += 1
    assert checked == len(schemas)


def test_examples_of_code_run() -> None:
    found = blocks("python")
    assert len(found) == 4
    for text in found:
        exec(compile(ast.parse(text), "docs/adding.md", "exec"), {"__name__": "example"})
