"""Hashes that identify results: canonical JSON and decoded pixels, never the bytes of a container file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any


def canonical_json(value: Any) -> str:
    """Serialise ``value`` the one way that hashes use: sorted keys, no spaces, no NaN or infinity.

    >>> canonical_json({"b": 1, "a": [1.5, None]})
    '{"a":[1.5,null],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """Return the sha256 hex digest of ``value``'s canonical JSON."""
    # Paths may hold bytes that are no text.
    return hashlib.sha256(canonical_json(value).encode(errors="surrogateescape")).hexdigest()


def frame_digest(data: bytes | memoryview, height: int, width: int) -> bytes:
    """Return the sha256 digest of one frame.

    Args:
        data: raw uint8 RGB samples in row-major H, W, 3 order.
        height: rows.
        width: columns; with ``height`` hashed too, so that a reshaped frame differs.
    """
    h = hashlib.sha256(f"{height}x{width}:".encode())
    h.update(data)
    return h.digest()


def clip_hash(frame_digests: Sequence[bytes] | Iterable[bytes]) -> str:
    """Combine frame digests, in clip order, into the sha256 hex digest of the clip."""
    h = hashlib.sha256(b"clip:")
    for d in frame_digests:
        h.update(d)
    return h.hexdigest()
