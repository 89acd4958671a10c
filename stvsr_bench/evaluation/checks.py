"""A check: what was looked at, whether it passes, what was seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stvsr_bench.core.errors import BenchError


@dataclass(frozen=True)
class Check:
    """One line of ``validate`` or ``doctor``.

    Attributes:
        what: what was checked.
        ok: whether it passes.
        detail: what was seen.
    """

    what: str
    ok: bool
    detail: str = ""


def attempt(what: str, action: Callable[[], str]) -> Check:
    """Return the check that passes when ``action`` raises nothing; its text is what was seen."""
    try:
        return Check(what, True, action())
    except BenchError as error:
        return Check(what, False, str(error))
    except Exception as error:  # noqa: BLE001 (a check reports whatever goes wrong)
        return Check(what, False, f"{type(error).__name__}: {error}")
