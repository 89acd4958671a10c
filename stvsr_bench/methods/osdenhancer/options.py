"""Checks of OSDEnhancer's options."""

from __future__ import annotations

from collections.abc import Sequence

from stvsr_bench.core.errors import ConfigError, nearest
from stvsr_bench.methods.osdenhancer.preparation import COUNT
from stvsr_bench.methods.osdenhancer.vae_tiles import OVERLAP, check_tile


def check_choice(name: str, knob: str, value: object, accepted: Sequence[object]) -> None:
    """Refuse a value that is none of ``accepted``, strings or booleans.

    Raises:
        ConfigError: it is none of them.
    """
    if any(value is choice or (isinstance(choice, str) and value == choice) for choice in accepted):
        return
    listed = [str(choice) if isinstance(choice, str) else str(choice).lower() for choice in accepted]
    close = nearest(str(value), listed, 1)
    raise ConfigError(
        f"method '{name}': {knob} '{value}' is not known",
        accepted=", ".join(listed),
        action=f"nearest: {close[0]}" if close else None,
    )


def checked_chunks(name: str, length: object, overlap: object) -> tuple[int | None, int]:
    """``chunk_length`` and ``overlap`` as they take effect.

    Raises:
        ConfigError: they are no such numbers.
    """
    if length is not None and (not _whole(length, 1) or length % COUNT != 1):  # type: ignore[operator]
        raise ConfigError(
            f"method '{name}': chunk_length is no length of a chunk",
            got=repr(length),
            accepted=f"{COUNT}·N + 1 output frames (1, 9, 17, …), or null for the whole clip",
        )
    if not _whole(overlap, 0):
        raise ConfigError(
            f"method '{name}': overlap is no number of frames", got=repr(overlap), accepted="a whole number from 0"
        )
    assert isinstance(overlap, int)
    if not isinstance(length, int):
        return None, 1  # without effect: every value is one identity
    if length == 1 and overlap == 1:
        return 1, 0  # the default, which chunks of one frame cannot have
    if overlap >= length:
        raise ConfigError(
            f"method '{name}': chunks cannot overlap that far",
            got=f"overlap={overlap}, chunk_length={length}",
            accepted=f"0 to {length - 1}",
        )
    return length, overlap


def checked_tile(name: str, tile: object) -> list[int] | None:
    """``vae_tile`` as two numbers.

    Raises:
        ConfigError: it is no height and width, or tiles of that size cannot be joined.
    """
    if tile is None:
        return None
    sides = list(tile) if isinstance(tile, Sequence) and not isinstance(tile, str) else []
    if len(sides) != 2 or not all(_whole(side, 1) for side in sides):
        raise ConfigError(
            f"method '{name}': vae_tile is no size", got=repr(tile), accepted="[height, width] in pixels, or null"
        )
    check_tile((sides[0], sides[1]), OVERLAP)
    return sides


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
