"""Datasets by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stvsr_bench.core import registry
from stvsr_bench.core.errors import CardError, DataError
from stvsr_bench.data.dataset import Dataset


def build_dataset(name: str, options: Mapping[str, Any] | None = None) -> Dataset:
    """Return the registered dataset ``name``; nothing is read from disk yet.

    Args:
        name: as in ``stvsr-bench list datasets``.
        options: knobs of its ``config.yaml``; those left out have the defaults stated there.

    Raises:
        UnknownNameError: no such dataset; the nearest names are listed.
        DataError: it is only announced; the message says what is missing.
        ConfigError: an unknown option or variant.
        CardError: its card or class is broken.
    """
    entry = registry.datasets()[name]
    card = entry.card
    if card.status == "announced":
        raise DataError(
            f"dataset '{name}' cannot be run: it is only announced",
            got=card.missing,
            accepted="datasets whose state is not «announced», see `stvsr-bench list datasets`",
            action="run clips of your own with dataset=folder dataset.root=FOLDER dataset.name=NAME, "
            f"under a name other than {name}",
        )
    found = registry.load_entry_class(entry)
    if not issubclass(found, Dataset):
        raise CardError(
            f"the class of dataset '{name}' is no dataset",
            got=f"entry: {card.entry}",
            accepted="a subclass of stvsr_bench.data.dataset:Dataset",
            action=f"correct {entry.folder / 'card.yaml'}",
        )
    defaults = {key: value for key, value in entry.knobs.items() if value != "???"}
    return found(card, {**defaults, **(options or {})})
