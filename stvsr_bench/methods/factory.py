"""From a registered name and options to a method: defaults, checks, construction."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from stvsr_bench.core import registry
from stvsr_bench.core.errors import CardError, ConfigError, MethodError, nearest
from stvsr_bench.core.method_card import MethodCard
from stvsr_bench.methods.base import Method
from stvsr_bench.weights import service
from stvsr_bench.weights.known import describe


def method_class(name: str) -> type[Method]:
    """Return the class of the registered method ``name``.

    Raises:
        UnknownNameError: no such method; the nearest are listed.
        MethodError: it is only announced, and has no code here.
        CardError: its card or code is broken, or its class is no method.
    """
    entry = registry.methods()[name]
    card = entry.card
    if card.entry is None:
        raise MethodError(
            f"method '{name}' cannot run yet: it is only announced",
            got=card.missing,
            accepted="methods whose status is runnable, see `stvsr-bench list methods`",
            action=_instead(name),
        )
    found = registry.load_entry_class(entry)
    if not issubclass(found, Method):
        raise CardError(
            f"the class of method '{name}' is not a method",
            got=f"{card.entry}, a subclass of {', '.join(c.__name__ for c in found.__mro__[1:-1]) or 'nothing'}",
            accepted="a subclass of stvsr_bench.methods.base.Method",
            action=f"correct {entry.folder}",
        )
    return found


def build_method(name: str, options: Mapping[str, Any] | None = None) -> Method:
    """Construct the registered method ``name``; it still needs ``setup``.

    Args:
        name: a registered name.
        options: knobs that differ from those of its ``config.yaml``.

    Raises:
        ConfigError: an unknown option (the nearest are listed), a missing one, or a value that is not accepted.
        MethodError: parameters that it needs are published nowhere, and nothing is named that could stand in for them.
        UnknownNameError, MethodError, CardError: as :func:`method_class`.
    """
    found = method_class(name)
    knobs = {"name": name, **registry.methods()[name].knobs, **(options or {})}
    accepted = inspect.signature(found.__init__).parameters
    unknown = [key for key in knobs if key not in accepted or key == "self"]
    if unknown:
        known = [key for key in accepted if key not in ("self", "name")]
        close = nearest(unknown[0], known)
        raise ConfigError(
            f"method '{name}' has no option '{unknown[0]}'",
            accepted=("nearest known: " + ", ".join(close)) if close else ", ".join(known),
            action=f"see `stvsr-bench show {name}`",
        )
    if (options and options.get("name", name) != knobs["name"]) or knobs["name"] != name:
        raise ConfigError(
            "method.name is the registered name and cannot be changed", got=f"{knobs['name']!r}", accepted=f"'{name}'"
        )
    lacking = [k for k, p in accepted.items() if k not in knobs and k != "self" and p.default is p.empty]
    if lacking:
        raise ConfigError(
            f"method '{name}' needs {', '.join(f'method.{key}' for key in lacking)}",
            got="nothing",
            action=f"add method.{lacking[0]}=… ; see `stvsr-bench show {name}`",
        )
    method = found(**knobs)
    card = registry.methods()[name].card
    if card.status == "announced" and not method.untrained and getattr(method, "checkpoint", None) is None:
        raise _unpublished(method, card)
    return method


def _unpublished(method: Method, card: MethodCard) -> MethodError:
    """Say what an announced method with code lacks, which other parameters are absent here, and what can be done."""
    specs = {weight: service.weight_spec(weight) for weight in getattr(method, "weights", ())}
    absent = [weight for weight, spec in specs.items() if spec.published and service.state(weight) == "absent"]
    told = ", ".join(describe(weight, specs[weight]) for weight in absent)
    ways = ["method.preset=tiny (toy width, seeded parameters)"] if "tiny" in method.presets else []
    ways.append("method.allow_untrained=true (full size, seeded where absent; never ranked)")
    if hasattr(method, "checkpoint"):
        ways.append("method.checkpoint=PATH (trained parameters of your own)")
    fetch = f"get the others: stvsr-bench fetch {' '.join(absent)}; or " if absent else ""
    return MethodError(
        f"method '{method.name}' is announced: its code is here, but not all of its parameters are published",
        got=f"{card.missing}{f'; of the others absent here: {told}' if absent else ''}",
        accepted=", ".join(ways),
        action=fetch + _instead(method.name),
    )


def _instead(name: str) -> str:
    return (
        f"score frames made elsewhere with method=outputs method.dir=FOLDER method.label={name}_official, "
        "or take a baseline such as method=bicubic_dis_flow"
    )
