"""The groups of DiffST's options: each a small mapping, checked, with every default in one place.

Evidence for each default stands in ``methods/diffst/README.md``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from stvsr_bench.core.errors import ConfigError, nearest

CFCA: dict[str, Any] = {
    "mode": "flow_multi",
    "keep_keyframes": True,
    "prop_mode": "copy",
    "chain": False,
    "fb_alpha": [0.01, 0.5],
    "key_flow": "raft_large",
    "key_updates": 20,
    "vfi": "ifnet_m",
    "share_flow": False,
    "psi_width": 192,
    "psi_blocks": 7,
    "psi_groups": 8,
}
"""Cross-frame context aggregation."""

VRG: dict[str, Any] = {
    "guidance": "video_text",
    "fuse": "channel",
    "num_queries": 512,
    "keyframes": 5,
    "frame_pos": False,
    "feature": "embeds",
}
"""Video representation guidance."""

TILE: dict[str, Any] = {"size": None, "overlap": 32, "blend": "cut"}
"""Tiles in space, in output pixels."""

CHOICES: dict[str, tuple[str, ...]] = {
    "cfca.mode": ("interp", "flow_two", "flow_multi"),
    "cfca.prop_mode": ("copy", "fuse"),
    "cfca.vfi": ("ifnet_m", "rife4"),
    "cfca.key_flow": ("raft_large", "raft_things", "ifnet"),
    "vrg.guidance": ("text", "video", "video_text"),
    "vrg.fuse": ("channel", "token", "infvsr", "direct"),
    "vrg.feature": ("embeds", "raw"),
    "tile.blend": ("cut", "blend"),
    "upsample": ("bilinear", "bicubic"),
    "pad_mode": ("replicate", "zeros"),
    "tail": ("crop", "repeat"),
    "posterior": ("mean", "sample"),
}
"""What the options that name something accept."""


def group(method: str, name: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a group, those that are given over the defaults.

    Args:
        method: the method's name, for messages.
        name: of the group.
        given: some or all of its options.
        defaults: all of them.

    Raises:
        ConfigError: it is no mapping, an option is unknown, or a value is of the wrong kind.
    """
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"method '{method}': {name} is a group of options", got=repr(given), accepted=", ".join(defaults)
        )
    for key in given:
        if key not in defaults:
            close = nearest(str(key), list(defaults))
            raise ConfigError(
                f"method '{method}' has no option '{name}.{key}'",
                accepted=("nearest known: " + ", ".join(close)) if close else ", ".join(defaults),
            )
    resolved = {**defaults, **given}
    for key, value in resolved.items():
        check(method, f"{name}.{key}", value, defaults[key])
    return resolved


def check(method: str, knob: str, value: Any, default: Any) -> None:
    """Compare one option with what it accepts: one of :data:`CHOICES`, or the kind of its default.

    Raises:
        ConfigError: it is neither.
    """
    if knob in CHOICES:
        if value not in CHOICES[knob]:
            raise ConfigError(f"method '{method}': {knob}", got=repr(value), accepted=", ".join(CHOICES[knob]))
    elif isinstance(default, bool):
        if not isinstance(value, bool):
            raise ConfigError(f"method '{method}': {knob} is a switch", got=repr(value), accepted="true or false")
    elif isinstance(default, int):
        least = 0 if knob == "tile.overlap" else 1
        if not _whole(value) or value < least:
            raise ConfigError(
                f"method '{method}': {knob} is a number", got=repr(value), accepted=f"a whole number from {least}"
            )
    elif isinstance(default, list) and not (
        isinstance(value, list | tuple) and len(value) == len(default) and all(map(_amount, value))
    ):
        raise ConfigError(
            f"method '{method}': {knob}", got=repr(value), accepted=f"{len(default)} numbers from 0: α1, α2 (px²)"
        )


def check_chunks(method: str, length: object, overlap: object) -> None:
    """Compare the chunks with what the VAE takes.

    Raises:
        ConfigError: the length is not 4m + 1, or the overlap not smaller than it.
    """
    if length is not None and (not _whole(length) or length < 1 or length % 4 != 1):  # type: ignore[operator]
        raise ConfigError(
            f"method '{method}': chunk_length",
            got=repr(length),
            accepted="4m + 1 output frames (33, for example), or null",
        )
    longest = length if length is not None else 10**9
    if not _whole(overlap) or not 0 <= overlap < longest:  # type: ignore[operator]
        raise ConfigError(
            f"method '{method}': chunk_overlap",
            got=repr(overlap),
            accepted=f"a whole number of frames from 0{'' if length is None else f', below chunk_length={length}'}",
        )


def check_tiles(method: str, tile: Mapping[str, Any], vae_tile: object) -> None:
    """Compare the tiles with what the networks take.

    Raises:
        ConfigError: a side is no multiple of 16, or not larger than the overlap.
    """
    size, overlap = tile["size"], tile["overlap"]
    if overlap % 16:
        raise ConfigError(f"method '{method}': tile.overlap", got=repr(overlap), accepted="a multiple of 16 pixels")
    pair = isinstance(size, list | tuple) and len(size) == 2 and all(_whole(side) for side in size)
    if size is not None and not (pair and all(side % 16 == 0 and side > overlap for side in size)):
        raise ConfigError(
            f"method '{method}': tile.size",
            got=repr(size),
            accepted=f"[height, width] in output pixels, multiples of 16 above tile.overlap={overlap}; or null",
        )
    if vae_tile not in ("auto", "none") and not (_whole(vae_tile) and vae_tile % 16 == 0 and vae_tile >= 64):  # type: ignore[operator]
        raise ConfigError(
            f"method '{method}': vae_tile",
            got=repr(vae_tile),
            accepted="auto, none, or a multiple of 16 pixels from 64",
        )


def _amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
