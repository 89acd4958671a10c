"""``stvsr-bench show``: all that is known of one thing."""

from __future__ import annotations

from typing import Any

import click
import yaml
from rich.console import Console

from stvsr_bench.cli.output import make_console, say
from stvsr_bench.core import registry
from stvsr_bench.core.dataset_card import DatasetCard
from stvsr_bench.core.errors import UnknownNameError
from stvsr_bench.core.registry import Entry


@click.command("show")
@click.argument("name")
def command(name: str) -> None:
    """Show the card, options and README of a method or dataset, or the facts of a protocol or metric."""
    from stvsr_bench.data.protocol import known_protocols, load_protocol
    from stvsr_bench.metrics.registry import known_metrics, metric_info
    from stvsr_bench.report.dataset_page import without_facts

    console = make_console()
    methods, datasets, protocols, metrics = (
        registry.methods(),
        registry.datasets(),
        known_protocols(),
        known_metrics(),
    )
    metric_names = [n for info in metrics.values() for n in (info.id, *info.aliases)]
    found = False
    for kind, names in (("method", methods), ("dataset", datasets)):
        if name in names:
            found = True
            entry = names[name]
            say(console, f"# {kind} {name} ({entry.origin}: {entry.folder})")
            say(console, _yaml(_facts(entry.card)))
            if kind == "dataset":
                _say_state(console, entry)
            if entry.knobs:
                say(console, f"# options: {kind}.KEY=VALUE\n{_yaml(entry.knobs)}")
            readme = entry.folder / "README.md"
            if readme.is_file():
                text = readme.read_text(encoding="utf-8")
                say(console, f"# {readme}\n\n{(without_facts(text) if kind == 'dataset' else text).rstrip()}")
    if name in protocols:
        found = True
        say(console, f"# protocol {name}\n{_yaml(load_protocol(name).model_dump(mode='json', exclude_none=True))}")
    if name in metric_names:
        found = True
        info = metric_info(name)
        facts = {key: value for key, value in vars(info).items() if value not in ((), {}, "")}
        say(console, f"# metric {info.id}\n{_yaml({k: _plain(v) for k, v in facts.items()})}")
    if not found:
        raise UnknownNameError(
            "name",
            name,
            {*methods, *datasets, *protocols, *metric_names},
            "see `stvsr-bench list methods|datasets|protocols|metrics`",
        )


def _say_state(console: Console, entry: Entry) -> None:
    """Say what of a dataset lies on this machine, and where it is looked for."""
    from stvsr_bench.data.state import dataset_state

    found = dataset_state(entry.card, entry.knobs)
    where = "" if found.root is None else f"; looked for in {found.root}"
    say(console, f"# on this machine: {found.state} ({found.meaning}){where}")
    if found.found is not None:
        of_variant = f", variant {found.variant}" if found.variant else ""
        say(console, f"clips: {found.count}{of_variant}; names and counts only, nothing was opened")
    for detail in found.details:
        say(console, detail)


def _facts(card: Any) -> dict[str, Any]:
    """Return what a card states; a method without a list of factors does any."""
    facts: dict[str, Any] = card.model_dump(mode="json", exclude_none=True)
    if isinstance(card, DatasetCard):
        facts = _stated(facts)
        if card.status == "announced":
            del facts["entry"]
    for factors in ("scales", "time_scales"):
        if getattr(card, factors, ()) is None:
            facts[factors] = "any"
    return facts


def _stated(value: Any) -> Any:
    """Leave out what a card does not state: empty lists and tables, marks that are off, and plain certainty."""
    if isinstance(value, list):
        return [_stated(item) for item in value]
    if not isinstance(value, dict):
        return value
    stated = {key: _stated(item) for key, item in value.items() if (key, item) != ("certainty", "certain")}
    return {key: item for key, item in stated.items() if item is not False and item not in ([], {})}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else dict(value) if hasattr(value, "items") else value


def _yaml(value: Any) -> str:
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=110)
    return text.rstrip()
