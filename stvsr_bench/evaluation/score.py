"""Scoring clips without a dataset, a protocol or a run folder: two clips, or two folders of clips."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stvsr_bench.core.atomic import atomic_write
from stvsr_bench.core.errors import BenchError, ClipError, ConfigError, DataError, MetricError
from stvsr_bench.core.paths import user_path
from stvsr_bench.data.layout import detect_layout
from stvsr_bench.evaluation.plan import resolve_device
from stvsr_bench.metrics.availability import lacking
from stvsr_bench.metrics.base import FrameBatch, Metric, build_metric
from stvsr_bench.metrics.batch import frames_at_once
from stvsr_bench.metrics.groups import parse_metrics
from stvsr_bench.metrics.info import MetricInfo
from stvsr_bench.metrics.registry import known_metrics, metric_info
from stvsr_bench.metrics.result import Mean, MetricResult, finite_mean, views
from stvsr_bench.video.clip import ArrayClip, Clip
from stvsr_bench.video.color import to_uint8
from stvsr_bench.video.prefetch import PrefetchClip
from stvsr_bench.video.reading import open_clip

READ_AHEAD = 16 << 20  # bytes; frames are read once and in order

Source = Clip | torch.Tensor | np.ndarray[Any, Any] | str | os.PathLike[str]
"""A clip, an array of frames, a video file, a folder of frames, or a folder of clips."""


@dataclass(frozen=True)
class Scores:
    """What was scored.

    Attributes:
        metrics: the metrics, in the order asked for.
        clips: results by clip name and metric id.
        errors: why a clip, or one of its metrics (``clip: metric``), has no result.
        left_out: metrics that could not take part, and why.
        time_scale: φt that key frames were told by.
    """

    metrics: tuple[MetricInfo, ...]
    clips: Mapping[str, Mapping[str, MetricResult]]
    errors: Mapping[str, BenchError] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    time_scale: int = 1

    def mean(self, metric: str, frames: str = "all") -> Mean:
        """Return the mean over the clips' means; ``n`` counts clips.

        Args:
            metric: id or alias.
            frames: ``all``, ``key``, ``interpolated``, ``crossing`` or ``distance N``, see
                :func:`stvsr_bench.metrics.result.views`.
        """
        name = metric_info(metric).id
        means = [self._mean(results[name], frames) for results in self.clips.values() if name in results]
        value, n, reason = finite_mean([mean.value for mean in means])
        return Mean(value, n, reason if value is not None else next((m.reason for m in means if m.reason), reason))

    def _mean(self, result: MetricResult, frames: str) -> Mean:
        if frames == "all":
            return Mean(result.value, result.n, result.reason)
        keys = [i for i in range(max(result.index, default=0) + 2) if i % self.time_scale == 0]
        return views(result, keys).get(frames, Mean(None, 0, f"no frames of the kind '{frames}'"))

    def __getitem__(self, metric: str) -> float | None:
        """The mean of a metric over all frames and clips."""
        return self.mean(metric).value

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the value of every frame, pair or clip.

        Raises:
            ResultError: the file cannot be written.
        """
        with atomic_write(user_path(path)) as file:
            file.write("clip,metric,version,level,frame,value\n")
            for clip, results in self.clips.items():
                quoted = '"' + clip.replace('"', '""') + '"' if any(c in clip for c in ',"\n') else clip
                for info in self.metrics:
                    if (result := results.get(info.id)) is None:
                        continue
                    for index, number in zip(result.index, result.values, strict=True):
                        text = "" if number is None else f"{number:.6f}"
                        file.write(f"{quoted},{info.id},{info.version},{result.level},{index},{text}\n")


def evaluate(
    pred: Source,
    gt: Source | None = None,
    metrics: str | Sequence[str] | None = None,
    *,
    time_scale: int = 1,
    device: str = "auto",
    progress: Callable[[str], None] | None = None,
) -> Scores:
    """Score restored clips, frame by frame against the ground truth where it is given.

    Args:
        pred: uint8 frames ``(T, 3, H, W)`` or ``(T, H, W, 3)`` as a tensor or array (floating point in [0, 1] is
            rounded as floor(x·255 + 0.5)), a :class:`Clip`, a video file, a folder of frames, or a folder of clips.
        gt: the ground truth in any of these forms, of equal count and size; clips of two folders are paired by name.
        metrics: metric ids or aliases, or one text as on the command line, with groups (``"fast,lpips"``); what only
            a group names is left out where it cannot run. Default: every metric that applies and can run here.
        time_scale: φt of the restoration, which tells key frames (0, φt, 2φt, …) from interpolated ones.
        device: ``auto``, ``cpu`` or ``cuda:N``.
        progress: told the name of each clip before it is scored.

    Raises:
        ClipError: a clip cannot be read (of two folders of clips: the others go on, see ``Scores.errors``).
        MetricError: counts or sizes differ, a full-reference metric is asked for without ``gt``, or a metric that is
            asked for cannot run here.

    Example:
        >>> frames = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
        >>> round(evaluate(frames + 5, frames, ["psnr_rgb"])["psnr_rgb"], 4)
        34.1514
    """
    if time_scale < 1:
        raise ConfigError("time_scale", got=str(time_scale), accepted="a whole number from 1")
    pairs = _pairs(pred, gt)
    wanted: dict[str, bool] | None = None
    if metrics is not None:
        names = parse_metrics(metrics) if isinstance(metrics, str) else dict.fromkeys(metrics, True)
        wanted = {metric_info(name).id: named for name, named in names.items()}
    infos, left_out = _chosen(wanted, gt is not None)
    where = resolve_device(device)
    ready = [build_metric(info) for info in infos]
    for metric in ready:
        metric.setup(where)
    clips: dict[str, dict[str, MetricResult]] = {}
    errors: dict[str, BenchError] = {}
    try:
        for name, open_pair in pairs.items():
            if progress is not None:
                progress(name)
            try:
                clips[name], failed = _score(name, *open_pair(), ready, where)
            except BenchError as error:
                if len(pairs) == 1:
                    raise
                errors[name] = error
                continue
            for identifier, fault in failed.items():
                if wanted is None or not wanted[identifier]:  # nobody asked for it by name
                    left_out.setdefault(identifier, fault.what)
                elif len(pairs) == 1:
                    raise fault
                else:
                    errors[f"{name}: {identifier}"] = fault
    finally:
        for metric in ready:
            metric.close()
    return Scores(tuple(infos), clips, errors, left_out, time_scale)


def _chosen(wanted: Mapping[str, bool] | None, has_gt: bool) -> tuple[list[MetricInfo], dict[str, str]]:
    """The metrics to score with, and those left out with the reason; what is asked for by name must be possible."""
    named = dict.fromkeys(known_metrics(), False) if wanted is None else wanted
    infos = [metric_info(name) for name in named]
    needing = [info.id for info in infos if info.reference == "full" and not has_gt]
    if asked := [name for name in needing if named[name]]:
        raise MetricError(
            f"metrics {', '.join(asked)} need ground truth", got="none given", action="give it with --gt PATH (gt=…)"
        )
    left_out: dict[str, str] = {}
    for info in infos:
        if info.id in needing:
            continue
        problem = lacking(info, fetch=named[info.id])
        if problem is not None and named[info.id]:
            raise problem
        if problem is not None:
            left_out[info.id] = problem.what
    return [info for info in infos if info.id not in needing and info.id not in left_out], left_out


def _pairs(pred: Source, gt: Source | None) -> dict[str, Callable[[], tuple[Clip, Clip | None]]]:
    """The pairs of clips by name, each with what opens it."""
    predicted, truth = _folder_of_clips(pred), None if gt is None else _folder_of_clips(gt)
    if predicted is None and truth is None:
        clip = as_clip(pred, "prediction")
        return {clip.name: lambda: (clip, None if gt is None else as_clip(gt, "ground truth"))}
    if predicted is None or (gt is not None and truth is None):
        raise DataError(
            "one side is a folder of clips and the other a single clip",
            got=f"prediction {_kind(predicted)}, ground truth {_kind(truth)}",
            accepted="two clips, or two folders of clips with equal names",
        )
    if truth is not None and (alone := [name for name in predicted if name not in truth]):
        raise DataError(
            f"{len(alone)} restored clips have no ground truth of their name",
            got=", ".join(alone[:6]),
            accepted=f"names of the ground truth: {', '.join(list(truth)[:6])}",
            action="rename the clips, or remove those that should not be scored",
        )

    def opener(path: Path, name: str) -> Callable[[], tuple[Clip, Clip | None]]:
        return lambda: (open_clip(path, name), None if truth is None else open_clip(truth[name], name))

    return {name: opener(path, name) for name, path in predicted.items()}


def _kind(clips: dict[str, Path] | None) -> str:
    return "a single clip" if clips is None else f"{len(clips)} clips"


def _folder_of_clips(source: Source) -> dict[str, Path] | None:
    """Paths by clip name where ``source`` is a folder of clips, or ``None`` where it is one clip."""
    if not isinstance(source, str | os.PathLike):
        return None
    path = user_path(source)
    if not path.is_dir():
        return None
    layout = detect_layout(path)
    if layout.form == "root/frame":
        return None
    found = {name: clip.gt or clip.plain or next(iter(clip.lq.values()), None) for name, clip in layout.clips.items()}
    return {name: clip for name, clip in found.items() if clip is not None}


def as_clip(source: Source, name: str) -> Clip:
    """Return ``source`` as a clip.

    Raises:
        ClipError: it cannot be read, or is an array of another form.
    """
    if isinstance(source, Clip):
        return source
    if isinstance(source, str | os.PathLike):
        return open_clip(user_path(source))
    frames = source if isinstance(source, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(source))
    last, second = frames.ndim == 4 and frames.shape[3] == 3, frames.ndim == 4 and frames.shape[1] == 3
    if last == second or not (frames.dtype == torch.uint8 or frames.is_floating_point()):
        raise ClipError(
            f"the {name} is no array of frames that can be scored",
            got=f"shape {tuple(frames.shape)}, {frames.dtype}",
            accepted="RGB (T, 3, H, W) or (T, H, W, 3), uint8 in 0 … 255 or floating point in [0, 1]",
            action="repeat a gray channel three times; bring 16 bits to 8 as round(x / 257); both sides 3 long: pass a "
            "tensor of other layout or a path",
        )
    frames = (frames.permute(0, 3, 1, 2) if last else frames).cpu()
    if frames.is_floating_point():
        low, high = float(frames.min()), float(frames.max())
        if low < 0 or high > 1:
            raise ClipError(
                f"the {name} has floating-point samples outside [0, 1]",
                got=f"{low:g} … {high:g}",
                accepted="[0, 1]; nothing is rescaled or clipped silently",
                action="divide 0 … 255 by 255, or clamp what overshoots",
            )
        frames = to_uint8(frames)
    return ArrayClip(frames.contiguous(), name)


def _score(
    name: str, pred: Clip, gt: Clip | None, metrics: Sequence[Metric], device: str
) -> tuple[dict[str, MetricResult], dict[str, BenchError]]:
    """Results by metric id, and the errors of metrics that could not score this clip."""
    if gt is not None and (len(gt), gt.height, gt.width) != (len(pred), pred.height, pred.width):
        raise MetricError(
            f"prediction and ground truth of clip '{name}' do not match",
            got=f"{len(pred)} frames of {pred.width}×{pred.height} and {len(gt)} frames of {gt.width}×{gt.height}",
            accepted="equal counts and sizes; nothing is cut or resized",
        )
    failed: dict[str, BenchError] = {}
    for metric in metrics:
        metric.start(name, len(pred))
    size = frames_at_once(pred.height, pred.width)
    with ExitStack() as stack:
        reader = stack.enter_context(PrefetchClip(pred, 1, READ_AHEAD))
        truth = None if gt is None else stack.enter_context(PrefetchClip(gt, 1, READ_AHEAD))
        for begin in range(0, len(pred), size):
            frames = range(begin, min(begin + size, len(pred)))
            other = None if truth is None else truth.read(frames)
            batch = FrameBatch(reader.read(frames), other, frames, device, name)
            for metric in metrics:
                if metric.info.id not in failed:
                    try:
                        metric.update(batch)
                    except BenchError as error:
                        failed[metric.info.id] = error
    results: dict[str, MetricResult] = {}
    for metric in metrics:
        if metric.info.id in failed:
            continue
        try:
            results[metric.info.id] = metric.compute()
        except BenchError as error:
            failed[metric.info.id] = error
    return results, failed
