"""Seeds derived from names, so that the order of work never changes a result."""

from __future__ import annotations

import hashlib


def derive_seed(run_seed: int, *names: str) -> int:
    """Return a 63-bit seed for an item of work.

    Args:
        run_seed: the run's ``seed``.
        names: what the seed is for, for example the sample name and a stage.

    >>> derive_seed(0, "walk") == derive_seed(0, "walk") != derive_seed(1, "walk")
    True
    """
    text = "\x1f".join([str(run_seed), *names])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
