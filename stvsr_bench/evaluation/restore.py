"""Restoring one video for people who just want the video."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stvsr_bench.core.errors import ConfigError
from stvsr_bench.core.paths import user_path
from stvsr_bench.core.seeding import derive_seed

if TYPE_CHECKING:
    from rich.console import Console

    from stvsr_bench.methods.base import Method, Report
    from stvsr_bench.video.clip import Clip

WRITERS = {"": "png", ".mkv": "ffv1", ".mp4": "mp4"}


def parse_frames(text: str, length: int) -> range:
    """Return the frames that ``A:B`` names (as Python slices do; either may be empty).

    Raises:
        ConfigError: not of that form, or no frame is left.

    >>> parse_frames("2:9", 100), parse_frames(":5", 3)
    (range(2, 9), range(0, 3))
    """
    match = re.fullmatch(r"(-?\d*):(-?\d*)", text.strip())
    if match is None or "-" in (match[1], match[2]):
        raise ConfigError(
            "option --frames", got=repr(text), accepted="A:B with A from 0, for example 0:9 for the first nine frames"
        )
    frames = range(length)[slice(*(int(g) if g else None for g in match.groups()))]
    if not frames:
        raise ConfigError("option --frames leaves no frame", got=repr(text), accepted=f"a part of 0:{length}")
    return frames


def parse_crop(text: str, height: int, width: int) -> tuple[int, int, int, int]:
    """Return ``(top, left, height, width)`` of ``WxH+X+Y``.

    Raises:
        ConfigError: not of that form, or not inside the frame.

    >>> parse_crop("96x64+200+150", 480, 854)
    (150, 200, 64, 96)
    """
    match = re.fullmatch(r"(\d+)x(\d+)\+(\d+)\+(\d+)", text.strip())
    if match is None:
        raise ConfigError("option --crop", got=repr(text), accepted="WxH+X+Y, for example 96x64+200+150")
    w, h, x, y = (int(g) for g in match.groups())
    if not (w and h) or x + w > width or y + h > height:
        raise ConfigError("option --crop does not lie inside the frame", got=text, accepted=f"inside {width}x{height}")
    return y, x, h, w


def factors(method: Method) -> tuple[float, int]:
    """Return φs and φt of ``method``: the configured ones, or the only ones that it has.

    Raises:
        ConfigError: one of them is not configured and the method takes several, or it is not among them.
    """
    scale = _factor("scale", method.scale, method.scales, method)
    return scale, int(_factor("time_scale", method.time_scale, method.time_scales, method))


def _factor(name: str, given: float | None, able: frozenset[int] | None, method: Method) -> float:
    whole = "" if name == "scale" and method.fractional_scales else "whole "
    listed = f"any {whole}number from 1" if able is None else ", ".join(map(str, sorted(able)))
    if given is None:
        if able is not None and len(able) == 1:
            return next(iter(able))
        raise ConfigError(
            f"method '{method.method_id}' does not fix its {name.replace('_', ' ')}",
            got=f"no method.{name}",
            accepted=listed,
            action=f"add method.{name}=N",
        )
    if able is not None and given not in able:
        raise ConfigError(f"option method.{name}", got=repr(given), accepted=f"{listed} (method '{method.method_id}')")
    return given


def restore_clip(
    clip: Clip,
    output: str | Path,
    method: Method,
    *,
    device: str,
    dtype: str = "float32",
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Path, Report]:
    """Restore ``clip`` with ``method`` and write it to ``output``, whole or not at all.

    Args:
        clip: what to restore.
        output: a folder (PNG frames), ``.mkv`` (lossless FFV1) or ``.mp4`` (for looking at).
        method: built, not set up; its ``scale`` and ``time_scale`` are needed where the method does not fix them.
        device: ``cpu`` or ``cuda:N``.
        dtype: arithmetic inside learned methods.
        seed: seed of methods that draw random numbers.
        progress: called with what is counted (``frames``, or a step within a clip), how many are done, and how many
            there are.

    Returns:
        Where the video is, and what the restoration used.

    Raises:
        ConfigError: a factor is missing or not accepted, or the output's suffix is unknown.
        ClipError: the clip cannot be read, or its size does not suit the codec.
    """
    from stvsr_bench.evaluation.progress import FRAMES
    from stvsr_bench.methods.base import Report, Request
    from stvsr_bench.video.prefetch import PrefetchClip
    from stvsr_bench.video.writing import FALLBACK_RATE, open_writer

    scale, time_scale = factors(method)
    target = user_path(output)
    kind = WRITERS.get(target.suffix.lower())
    if kind is None:
        raise ConfigError(
            f"output '{target.name}' has an unknown suffix",
            got=target.suffix,
            accepted="a folder (PNG frames), .mkv (lossless FFV1), .mp4 (for looking at)",
        )
    report = Report(progress=progress)
    request = Request(scale=scale, time_scale=time_scale, seed=derive_seed(seed, clip.name), name=clip.name)
    total = (len(clip) - 1) * time_scale + 1
    rate = None if clip.frame_rate is None else clip.frame_rate * time_scale
    method.setup(device, dtype)
    try:
        with (
            PrefetchClip(clip) as reader,
            open_writer(target, kind, *request.size(clip.height, clip.width), rate) as writer,
        ):
            done = 0
            for block in method.restore(reader, request, report):
                writer.write(block)
                done += len(block)
                if progress is not None:
                    progress(FRAMES, done, total)
    finally:
        method.close()
    if rate is None and kind != "png":
        report.notes.append(f"the input states no frame rate; the video plays at {FALLBACK_RATE} frames per second")
    return target, report


def restore_from_config(
    source: str | Path,
    output: str | Path,
    overrides: Sequence[str],
    *,
    frames: str | None = None,
    crop: str | None = None,
    progress: Callable[[str, str, int, int], None],
    console: Console,
) -> tuple[Path, Report, str]:
    """Restore ``source`` as the command line asks.

    Args:
        source: a video file or a folder of frames.
        output: see :func:`restore_clip`.
        overrides: as for a run; ``method=NAME`` is needed.
        frames: ``A:B``, or ``None`` for all.
        crop: ``WxH+X+Y``, or ``None`` for the whole frame.
        progress: called with the clip's name and what :func:`restore_clip` tells.
        console: told of weights that are fetched.

    Returns:
        Where the video is, what the restoration used, and its size in words.

    Raises:
        ConfigError: an option is wrong or a factor is missing.
        ClipError: the source cannot be read.
        WeightError: a weight of the method cannot be had.
    """
    from stvsr_bench.core import registry
    from stvsr_bench.evaluation.compose import compose
    from stvsr_bench.evaluation.plan import resolve_device
    from stvsr_bench.evaluation.weights import get_ready, needed_weights
    from stvsr_bench.methods.factory import build_method
    from stvsr_bench.video.clip import MappedClip
    from stvsr_bench.video.reading import open_clip
    from stvsr_bench.weights.service import offline

    wrong = [o for o in overrides if o.startswith(("dataset", "protocol", "metrics", "executor"))]
    if wrong:
        raise ConfigError(
            "`restore` takes no dataset, protocol, metrics or executor",
            got=", ".join(wrong),
            action="use `stvsr-bench run`",
        )
    config = compose([*overrides, "dataset=demo"])  # the composition wants a dataset; restoring reads none
    entry = registry.methods()[config["method"]["card"]]
    method = build_method(entry.name, {k: v for k, v in config["method"].items() if k != "card"})
    clip = open_clip(user_path(source))
    if frames is not None:
        clip = clip.select(parse_frames(frames, len(clip)))
    if crop is not None:
        top, left, height, width = parse_crop(crop, clip.height, clip.width)

        def cut(block: Any) -> Any:
            return block[:, :, top : top + height, left : left + width].contiguous()

        clip = MappedClip(clip, cut, (height, width), f"crop{top},{left},{height},{width}")
    with offline(config["offline"]):
        get_ready(needed_weights(method), console)
        path, report = restore_clip(
            clip,
            output,
            method,
            device=resolve_device(config["device"]),
            dtype=config["dtype"],
            seed=config["seed"],
            progress=lambda *step: progress(clip.name, *step),
        )
    written = open_clip(path)
    rate = "" if written.frame_rate is None else f", {written.frame_rate} frames per second"
    return path, report, f"{len(written)} frames of {written.width}×{written.height}{rate}"
