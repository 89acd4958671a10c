"""The Python API: the same words as the command line, three lines in a notebook."""

from __future__ import annotations

import os
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from rich.console import Console

from stvsr_bench.core.errors import ConfigError
from stvsr_bench.core.paths import user_path

if TYPE_CHECKING:
    from stvsr_bench.data.dataset import Dataset
    from stvsr_bench.evaluation.score import Scores
    from stvsr_bench.methods.base import Method
    from stvsr_bench.report.leaderboard import Leaderboard
    from stvsr_bench.video.clip import Clip


def load_method(name: str, **options: Any) -> Method:
    """Return a registered method, built from its configuration and ``options``.

    Args:
        name: as in ``stvsr-bench list methods``.
        options: knobs of its ``config.yaml``.

    Raises:
        UnknownNameError: no such method; the nearest names are listed.
        ConfigError: an unknown knob, or a value that is not accepted.
        MethodError: the method is only announced and cannot run.

    Example:
        >>> load_method("cascade", vsr="bicubic", vfi="dis_flow").method_id
        'bicubic+dis_flow'
    """
    from stvsr_bench.methods.factory import build_method

    return build_method(name, options)


def load_dataset(name: str, **options: Any) -> Dataset:
    """Return a registered dataset, found on disk.

    Args:
        name: as in ``stvsr-bench list datasets``.
        options: ``root``, ``variant`` and the other knobs of its ``config.yaml``.

    Raises:
        UnknownNameError: no such dataset; the nearest names are listed.
        DataError: the data are absent or laid out in an unknown way.

    Example:
        >>> dataset = load_dataset("demo")
        >>> [source.name for source in dataset.sources()]
        ['astronaut', 'chelsea', 'coffee', 'rocket']
    """
    from stvsr_bench.data.factory import build_dataset

    return build_dataset(name, options)


def restore(
    source: Clip | str | os.PathLike[str],
    method: str | Method = "bicubic_dis_flow",
    output: str | os.PathLike[str] | None = None,
    *,
    device: str = "auto",
    dtype: str = "float32",
    seed: int = 0,
    **options: Any,
) -> Clip:
    """Restore one clip.

    Args:
        source: a clip, a video file or a folder of frames.
        method: a registered name, or what :func:`load_method` returned.
        output: a folder (PNG frames), ``.mkv`` (lossless) or ``.mp4``; ``None`` keeps the frames in memory.
        device: ``auto``, ``cpu`` or ``cuda:N``.
        dtype: arithmetic inside learned methods.
        seed: seed of methods that draw random numbers.
        options: knobs of the method: ``scale`` and ``time_scale`` where the method does not fix them.

    Returns:
        The restored clip.

    Raises:
        ConfigError: a factor is missing, or an option is not accepted.
        ClipError: the source cannot be read.

    Example:
        >>> import torch
        >>> from stvsr_bench.video.clip import ArrayClip
        >>> clip = ArrayClip(torch.zeros(3, 3, 8, 10, dtype=torch.uint8))
        >>> restored = restore(clip, "bicubic_blend", scale=4, time_scale=2)
        >>> len(restored), restored.height, restored.width
        (5, 32, 40)
    """
    import torch

    from stvsr_bench.evaluation.plan import resolve_device
    from stvsr_bench.evaluation.restore import factors, restore_clip
    from stvsr_bench.methods.base import Request
    from stvsr_bench.video.clip import ArrayClip, Clip
    from stvsr_bench.video.reading import open_clip

    if isinstance(method, str):
        method = load_method(method, **options)
    elif options:
        raise ConfigError(
            "options were given beside a method that is already built",
            got=", ".join(options),
            action="build it with them",
        )
    clip = source if isinstance(source, Clip) else open_clip(user_path(source))
    where = resolve_device(device)
    if output is not None:
        path, _ = restore_clip(clip, os.fspath(output), method, device=where, dtype=dtype, seed=seed)
        return open_clip(path)
    scale, time_scale = factors(method)
    method.setup(where, dtype)
    try:
        blocks = list(method.restore(clip, Request(scale=scale, time_scale=time_scale, seed=seed, name=clip.name)))
    finally:
        method.close()
    rate: Fraction | None = None if clip.frame_rate is None else clip.frame_rate * time_scale
    return ArrayClip(torch.cat(blocks), clip.name, rate)


def run(*overrides: str, **groups: Any) -> Leaderboard:
    """Run a method on a dataset under a protocol and return the run's own table.

    Args:
        overrides: as on the command line: ``"method.vsr=bicubic"``, ``"dataset.limit=1"``.
        groups: the same for keys without a dot: ``method="bicubic"``, ``dataset="demo"``, ``seed=1``; a mapping gives
            an option with its knobs: ``dataset={"name": "vid4", "root": "~/data/Vid4"}``.

    Returns:
        The leaderboard of this run; its results stay in ``results_dir``.

    Raises:
        ConfigError: an option is wrong.
        NotReadyError: the method is only announced, or data are missing.
        ResultError: a sample failed; what is finished is kept.

    Example:
        >>> board = run(method="bicubic", dataset="demo", protocol="bi-x4")  # doctest: +SKIP
    """
    from stvsr_bench.core.errors import ResultError
    from stvsr_bench.evaluation.compose import compose
    from stvsr_bench.evaluation.plan import make_plan
    from stvsr_bench.evaluation.runner import execute
    from stvsr_bench.report.leaderboard import build_leaderboard

    plan = make_plan(compose([*_overrides(groups), *overrides]))
    outcome = execute(plan, Console(quiet=True))
    if outcome.unscored:
        raise ResultError(
            "some metrics could not score",
            got="; ".join(f"{name}: {why}" for name, why in outcome.unscored.items()),
            action="get their weights (stvsr_bench list weights), or leave them out; the rest of the run is kept",
        )
    if outcome.failures:
        raise ResultError(
            f"{len(outcome.failures)} of {len(plan.sources)} samples failed",
            got="; ".join(f"{name}: {why}" for name, why in outcome.failures.items()),
            action="the same call tries them again; the others are kept",
        )
    return build_leaderboard([plan.folder])


def _overrides(groups: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for key, value in groups.items():
        if isinstance(value, Mapping):
            knobs = dict(value)
            if "name" not in knobs:
                raise ConfigError(f"option '{key}' lacks a name", got=repr(knobs), accepted="{'name': …} with knobs")
            found.append(f"{key}={knobs.pop('name')}")
            found += [f"{key}.{knob}={_text(setting)}" for knob, setting in knobs.items()]
        else:
            found.append(f"{key}={_text(value)}")
    return found


def _text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_text, value)) + "]"
    return str(value)


def leaderboard(*folders: str | os.PathLike[str]) -> Leaderboard:
    """Return the leaderboard of every run at or below ``folders`` (default: ``results/runs``).

    Raises:
        ResultError: a folder does not exist.

    Example:
        >>> import tempfile
        >>> leaderboard(tempfile.mkdtemp()).rows
        ()
    """
    from stvsr_bench.report.leaderboard import build_leaderboard

    return build_leaderboard([user_path(f) for f in folders] or [user_path("results/runs")])


def evaluate(pred: Any, gt: Any = None, metrics: Any = None, **options: Any) -> Scores:
    """Score restored clips: arrays, tensors, videos, folders of frames or folders of clips.

    See :func:`stvsr_bench.evaluation.score.evaluate`, whose arguments these are.

    Example:
        >>> import numpy as np
        >>> frames = np.zeros((2, 32, 32, 3), np.uint8)
        >>> round(evaluate(frames + 5, frames, metrics="psnr_rgb")["psnr_rgb"], 4)
        34.1514
    """
    from stvsr_bench.evaluation.score import evaluate as score

    return score(pred, gt, metrics, **options)
