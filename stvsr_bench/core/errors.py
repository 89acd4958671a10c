"""The errors that users meet: what failed, what was received, what is accepted, what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class BenchError(Exception):
    """A failure that the user can understand and act on; the command line prints it without a traceback.

    Args:
        what: what failed, naming the item («clip 'walk': frame 3 cannot be decoded»).
        got: what was received (name, shape, dtype, range, path).
        accepted: what would have been accepted.
        action: what to do next.
    """

    def __init__(
        self, what: str, *, got: str | None = None, accepted: str | None = None, action: str | None = None
    ) -> None:
        super().__init__(what, got, accepted, action)
        self.what = what
        self.got = got
        self.accepted = accepted
        self.action = action

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors of worker processes reach the user: by default they would be built again from positional arguments.
        return _rebuild, (type(self), self.args, self.__dict__)

    def __str__(self) -> str:
        parts = [self.what]
        if self.got is not None:
            parts.append(f"got {self.got}")
        if self.accepted is not None:
            parts.append(f"accepted: {self.accepted}")
        if self.action is not None:
            parts.append(self.action)
        return "; ".join(parts)

    def lines(self) -> list[str]:
        """Return the parts as lines, for a terminal."""
        parts = (("got", self.got), ("accepted", self.accepted), ("next", self.action))
        return [self.what, *(f"  {label}: {text}" for label, text in parts if text is not None)]


def _rebuild(kind: type[BenchError], args: tuple[Any, ...], state: dict[str, Any]) -> BenchError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class ConfigError(BenchError):
    """An option, override or configuration file is wrong."""


class CardError(BenchError):
    """A card or a registered folder breaks its schema."""


class ClipError(BenchError):
    """A clip cannot be read or written."""


class DataError(BenchError):
    """A dataset is absent, incomplete, laid out in an unknown way, or its parts do not match."""


class MethodError(BenchError):
    """A method cannot be built or broke its contract."""


class MetricError(BenchError):
    """A metric received what it cannot score."""


class WeightError(BenchError):
    """Parameters cannot be had, read or trusted, or do not fit their network."""


class ResultError(BenchError):
    """A result file or run folder cannot be read or written."""


class IncompatibleError(BenchError):
    """Method, dataset and protocol do not fit together."""


def brief(items: tuple[str, ...] | list[str], limit: int = 4) -> str:
    """Return the first few of ``items`` and how many more there are.

    >>> brief(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    rest = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + rest if items else "none"


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return up to ``count`` known names that look most like ``name``, best first.

    >>> nearest("bicubc", ["bilinear", "bicubic", "lanczos"], 1)
    ['bicubic']
    """
    known = sorted(known)
    lowered = {k.lower(): k for k in known}
    hits = difflib.get_close_matches(name.lower(), list(lowered), n=count, cutoff=0.4)
    return [lowered[h] for h in hits]


class UnknownNameError(ConfigError):
    """A name is not registered; the message lists the nearest known ones.

    Args:
        kind: what was looked up («method», «dataset», «protocol», «metric»).
        name: the unknown name.
        known: every known name.
        action: what to do next; default: how to list them.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], action: str | None = None) -> None:
        known = sorted(known)
        close = nearest(name, known)
        listed = close if close else known[:12]
        label = "nearest known: " if close else "known: "
        super().__init__(
            f"unknown {kind} '{name}'",
            accepted=label + ", ".join(listed) if listed else "none is registered",
            action=action or f"see `stvsr-bench list {kind}s`",
        )
        self.kind = kind
        self.name = name
