"""What ``stvsr-bench validate`` checks."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import partial
from typing import Any

from stvsr_bench.core import registry
from stvsr_bench.core.errors import BenchError, DataError, MethodError
from stvsr_bench.core.method_card import MethodCard
from stvsr_bench.core.registry import Entry
from stvsr_bench.evaluation.checks import Check, attempt

SHAPES = ((1, 24, 32), (2, 25, 33), (5, 32, 40))
"""Frames, rows and columns of the clips that a method must restore: one frame, odd sizes, several frames."""


def _files(entry: Entry) -> Iterator[Check]:
    yield attempt("card.yaml keeps the schema", lambda: f"version {entry.card.version}")
    for file in ("config.yaml", "README.md"):
        path = entry.folder / file
        yield Check(f"{file} is there", path.is_file(), "" if path.is_file() else f"no {path}")


def validate_method(name: str) -> Iterator[Check]:
    """Yield the checks of the registered method ``name``.

    Raises:
        UnknownNameError: no such method.
    """
    entry = registry.methods()[name]
    yield from _files(entry)
    try:
        card = entry.card
    except BenchError:
        return
    if card.protocols:
        yield attempt("the protocols it prefers exist and fit it", lambda: _protocols(card))
    if card.entry is None:
        yield Check("announced: nothing to run yet", True, card.missing)
        return
    if card.status == "announced":
        yield Check("announced: it runs without the parameters that nobody has published", True, card.missing)
    found: dict[str, Any] = {}

    def load() -> str:
        from stvsr_bench.methods.factory import method_class

        found["class"] = method_class(name)
        return str(card.entry)

    yield attempt("the class can be imported", load)
    if "class" not in found:
        return
    cls = found["class"]
    yield attempt("config.yaml names exactly the knobs of the class, with its defaults", lambda: _knobs(entry, cls))
    yield Check("version of card and class agree", card.version == cls.version, f"{card.version} and {cls.version}")
    if card.status == "outputs-only" or name in ("cascade", "outputs"):
        return
    yield attempt("it can be built", lambda: _build(name, found))
    if "method" not in found:
        return
    method = found["method"]
    agree = method.task == card.task and all(
        (None if mine is None else sorted(mine)) == (None if facts is None else sorted(facts))
        for mine, facts in ((method.scales, card.scales), (method.time_scales, card.time_scales))
    )
    yield Check("task and factors of card and class agree", agree, f"task {method.task}, φs {_some(method.scales)}")
    for shape in SHAPES:
        yield attempt(f"it restores {shape[0]} frames of {shape[2]}×{shape[1]}", partial(_restores, name, shape))


def _protocols(card: MethodCard) -> str:
    from stvsr_bench.data.protocol import fits, load_protocol

    names = [name for group in card.protocols.values() for name in group]
    wrong = [name for name in names if not fits(load_protocol(name), card.task, card.scales, card.time_scales)]
    if wrong:
        raise MethodError(
            f"the card of '{card.name}' prefers protocols that its task and factors do not fit",
            got=", ".join(wrong),
            action="correct protocols, or scales and time_scales",
        )
    return ", ".join(names)


def _knobs(entry: Entry, cls: type[Any]) -> str:
    accepted: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        constructor = vars(base).get("__init__")
        if constructor is not None and base is not object:
            accepted |= {
                key: parameter.default
                for key, parameter in inspect.signature(constructor).parameters.items()
                if parameter.kind is parameter.KEYWORD_ONLY
            }
    wrong = [f"{key} (unknown)" for key in entry.knobs if key not in accepted]
    wrong += [
        f"{key} ({entry.knobs[key]!r} in config.yaml, {default!r} in the class)"
        for key, default in accepted.items()
        if key in entry.knobs and default is not inspect.Parameter.empty and default != entry.knobs[key]
    ]
    if wrong and entry.card.entry.partition(":")[2] != "Cascade":  # a ready cascade is its config
        raise MethodError("config.yaml and the class differ", got=", ".join(wrong), action="make them agree")
    return ", ".join(entry.knobs)


def _build(name: str, found: dict[str, Any]) -> str:
    from stvsr_bench.methods.factory import build_method

    found["method"] = build_method(name, _least(name))
    return str(found["method"].method_id)


def _least(name: str) -> dict[str, Any]:
    """The options with which a method needs least: toy size, or (announced) whatever parameters there are."""
    from stvsr_bench.methods.factory import method_class

    if "tiny" in method_class(name).presets:
        return {"preset": "tiny"}
    return {"allow_untrained": True} if registry.methods()[name].card.status == "announced" else {}


def _restores(name: str, shape: tuple[int, int, int]) -> str:
    import torch

    from stvsr_bench.methods.base import Request
    from stvsr_bench.methods.factory import build_method
    from stvsr_bench.video.clip import ArrayClip

    count, height, width = shape
    method = build_method(name, _least(name))
    clip = ArrayClip(
        torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    )
    scale = 1 if method.task == "vfi" else min(method.scales or {4})
    time_scale = 1 if method.task == "vsr" else min((method.time_scales or {2}) - {1} or {1})
    method.setup("cpu")
    try:
        first, second = (
            torch.cat(list(method.restore(clip, Request(scale=scale, time_scale=time_scale)))) for _ in range(2)
        )
    finally:
        method.close()
    if method.deterministic and not torch.equal(first, second):
        raise MethodError(
            "two restorations of one clip differ", action="seed every draw, or declare deterministic: false"
        )
    return f"{len(first)} frames of {first.shape[3]}×{first.shape[2]}, the same twice"


def _some(values: frozenset[int] | None) -> str:
    return "any" if values is None else ", ".join(map(str, sorted(values)))


def _options(entry: Entry) -> str:
    options: frozenset[str] = registry.load_entry_class(entry).OPTIONS
    unknown = [key for key in entry.knobs if key not in options]
    if unknown:
        raise DataError(
            "config.yaml has options that the class does not know",
            got=", ".join(unknown),
            accepted=", ".join(sorted(options)),
            action=f"correct {entry.folder / 'config.yaml'}",
        )
    return ", ".join(entry.knobs)


def validate_dataset(name: str) -> Iterator[Check]:
    """Yield the checks of the registered dataset ``name``.

    Raises:
        UnknownNameError: no such dataset.
    """
    entry = registry.datasets()[name]
    yield from _files(entry)
    try:
        card = entry.card
    except BenchError:
        return
    if card.status == "announced":
        yield Check("announced: nothing to run yet", True, card.missing)
        return
    yield attempt("config.yaml names only options of the class", lambda: _options(entry))
    if card.kind is None:
        yield Check("described by the user's own folder: nothing to look for", True)
        return

    def look() -> str:
        from stvsr_bench.data.factory import build_dataset
        from stvsr_bench.data.protocol import roles_of_kind

        dataset = build_dataset(name, {})
        absent = dataset.missing()
        if absent is not None:
            raise absent
        needed = roles_of_kind(dataset.kind)  # LQ beside the GT of a synthetic set may be of some clips only
        wrong = [
            f"{source.name}: {error}"
            for source in dataset.sources()
            for role, error in source.errors.items()
            if role in needed
        ]
        if wrong:
            raise DataError("clips cannot be opened", got="; ".join(wrong))
        return f"{dataset.id} in {dataset.locate()}, {len(dataset.sources())} of {dataset.expected} clips"

    yield attempt("its clips are on disk and can be opened", look)
