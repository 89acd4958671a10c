"""The registry: the folder is the registration.

Scanned are ``methods/*/`` and ``datasets/*/`` of the installation, of every folder on ``$STVSR_BENCH_PATH``, and the
entry points ``stvsr_bench.methods``, ``stvsr_bench.datasets`` (a package folder that holds ``card.yaml``) and
``stvsr_bench.metrics`` (a ``MetricInfo`` or a list of them).
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from stvsr_bench.core.cards import load_card, read_yaml
from stvsr_bench.core.dataset_card import DatasetCard
from stvsr_bench.core.errors import BenchError, CardError, UnknownNameError
from stvsr_bench.core.method_card import MethodCard
from stvsr_bench.core.paths import search_roots, share_dir

Kind = Literal["method", "dataset"]
_SCHEMAS: dict[str, type[BaseModel]] = {"method": MethodCard, "dataset": DatasetCard}


@dataclass(frozen=True)
class Entry:
    """One registered method or dataset.

    Attributes:
        name: the folder's name, by which users call it.
        kind: ``"method"`` or ``"dataset"``.
        folder: the folder that holds ``card.yaml`` and ``config.yaml``.
        origin: where it was found: ``"installed"``, a folder of ``$STVSR_BENCH_PATH``, or an entry point.
    """

    name: str
    kind: Kind
    folder: Path
    origin: str

    @property
    def card(self) -> Any:
        """The validated card.

        Raises:
            CardError: the card breaks its schema, or its name is not the folder's.
        """
        card: Any = load_card(self.folder / "card.yaml", _SCHEMAS[self.kind])
        if card.name != self.name:
            raise CardError(
                f"card '{self.folder / 'card.yaml'}' names another {self.kind}",
                got=f"name: {card.name}",
                accepted=f"name: {self.name} (the folder's name)",
                action="rename the folder or the card's name",
            )
        return card

    @property
    def knobs(self) -> dict[str, Any]:
        """The options of ``config.yaml`` with their defaults (empty without the file)."""
        path = self.folder / "config.yaml"
        return read_yaml(path) if path.is_file() else {}


class Names(Mapping[str, Entry]):
    """Registered entries of one kind; an unknown name is an error that lists the nearest."""

    def __init__(self, kind: Kind, entries: dict[str, Entry], problems: list[BenchError]) -> None:
        self.kind = kind
        self._entries = dict(sorted(entries.items()))
        self.problems = problems

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            raise UnknownNameError(self.kind, name, self._entries)
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries


def _scan(kind: Kind) -> Names:
    entries: dict[str, Entry] = {}
    problems: list[BenchError] = []

    def add(entry: Entry) -> None:
        other = entries.get(entry.name)
        if other is None:
            entries[entry.name] = entry
        elif other.folder != entry.folder:
            problems.append(
                CardError(
                    f"two {kind}s are called '{entry.name}'",
                    got=f"{other.folder} ({other.origin}) and {entry.folder} ({entry.origin})",
                    accepted="one folder for each name",
                    action=f"rename one of them; until then the first is used and {entry.folder} is ignored",
                )
            )

    installation = share_dir()
    for root in search_roots():
        origin = "installed" if root == installation else str(root)
        for folder in sorted((root / f"{kind}s").glob("*/")):
            if (folder / "card.yaml").is_file():
                add(Entry(folder.name, kind, folder, origin))
    for point in importlib.metadata.entry_points(group=f"stvsr_bench.{kind}s"):
        origin = f"package {point.dist.name if point.dist else '?'}"
        folder_or_none = _package_folder(point.value)
        if folder_or_none is None or not (folder_or_none / "card.yaml").is_file():
            problems.append(
                CardError(
                    f"the entry point '{point.name}' of {origin} does not lead to a {kind}",
                    got=f"'{point.value}'",
                    accepted="an importable package folder that holds card.yaml",
                    action="correct the package's entry point or uninstall it",
                )
            )
        else:
            add(Entry(point.name, kind, folder_or_none, origin))
    return Names(kind, entries, problems)


def _package_folder(value: str) -> Path | None:
    """Return the folder of the package named by an entry point, found without importing the package itself."""
    try:
        spec = importlib.util.find_spec(value.partition(":")[0])
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def methods() -> Names:
    """Return the registered methods, scanned afresh."""
    return _scan("method")


def datasets() -> Names:
    """Return the registered datasets, scanned afresh."""
    return _scan("dataset")


def plugin_metrics() -> tuple[list[Any], list[BenchError]]:
    """Return the metric descriptions that entry points bring, and what was wrong with the others.

    The values of the group ``stvsr_bench.metrics`` are ``MetricInfo`` objects or lists of them; ``core`` does not
    know that class, so the caller checks the type.
    """
    found: list[Any] = []
    problems: list[BenchError] = []
    for point in importlib.metadata.entry_points(group="stvsr_bench.metrics"):
        try:
            value = point.load()
        except Exception as error:  # noqa: BLE001 (foreign code: whatever it raises must not break the listing)
            problems.append(
                CardError(
                    f"the metric entry point '{point.name}' cannot be loaded",
                    got=f"{type(error).__name__}: {error}",
                    accepted="a MetricInfo or a list of them",
                    action="correct or uninstall the package that brings it",
                )
            )
            continue
        found.extend(value if isinstance(value, (list, tuple)) else [value])
    return found, problems


def load_entry_class(entry: Entry) -> type[Any]:
    """Import the class that the card's ``entry`` names.

    ``package.module:Class`` is imported; ``file.py:Class`` is loaded from the entry's own folder.

    Raises:
        CardError: the card has no entry, or file, module or class do not exist or fail to import.
    """
    target = entry.card.entry
    where = f"{entry.kind} '{entry.name}'"
    if not target or ":" not in target:
        raise CardError(
            f"{where} has no code to run",
            got=f"entry: {target!r} in {entry.folder / 'card.yaml'}",
            accepted="entry: package.module:Class or file.py:Class",
            action="complete the card",
        )
    module_name, _, class_name = target.rpartition(":")
    try:
        if module_name.endswith(".py"):
            module = _load_file(entry, entry.folder / module_name)
        else:
            module = importlib.import_module(module_name)
    except BenchError:
        raise
    except Exception as error:
        raise CardError(
            f"the code of {where} cannot be imported",
            got=f"{type(error).__name__}: {error} (entry: {target})",
            action=f"correct {entry.folder}, or install what it needs",
        ) from error
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        raise CardError(
            f"the code of {where} lacks the class '{class_name}'", got=f"entry: {target}", action="correct the card"
        )
    return found


def _load_file(entry: Entry, path: Path) -> Any:
    if not path.is_file():
        raise CardError(
            f"the code of {entry.kind} '{entry.name}' is missing", got=f"no file {path}", action="create it"
        )
    source = path.read_bytes()
    # Compiled from what the file says now: neither an older import nor a cached .pyc of the same second is taken.
    name = f"stvsr_bench_dropped.{entry.kind}s.{entry.name}.{path.stem}_{hashlib.sha256(source).hexdigest()[:12]}"
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) == str(path):
        return sys.modules[name]
    module = types.ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module
