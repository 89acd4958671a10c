"""Applying a protocol: from the files of one clip to what a method gets and what its output is compared with."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from stvsr_bench.core.errors import BenchError, ConfigError, DataError
from stvsr_bench.data.frame_rules import FramePlan, parse_windows, plan_frames
from stvsr_bench.data.generated import GeneratedClip, Generation
from stvsr_bench.data.protocol import Protocol, Role
from stvsr_bench.data.sample import Sample, SourceSample
from stvsr_bench.degradation.clipwise import ClipDegradation
from stvsr_bench.degradation.registry import DEGRADATIONS
from stvsr_bench.video.clip import Clip, Frames, MappedClip

KNOWN_SCALES = (1, 2, 3, 4, 8)
"""Factors between LQ and GT that are recognised, for messages."""

Wrap = Callable[[Clip], Clip]


def apply_protocol(
    protocol: Protocol, source: SourceSample, wrap: Wrap | None = None, generation: Generation | None = None
) -> Sample:
    """Return the sample that ``protocol`` makes of ``source``; nothing is decoded or generated here.

    The frame rule ``every`` keeps frames 0, φt, 2φt … : of T frames N = floor((T - 1) / φt) + 1 stay, and the output
    has (N - 1)·φt + 1 frames, which are frames 0 … (N - 1)·φt of GT. The tail of GT after them has no right neighbour
    and is not scored. Under ``all`` every LQ frame stays and the output has no GT. Space is degraded before frames
    are dropped: degradations that work frame by frame are applied to the kept frames only, which is the same; those
    that need the whole clip make an LQ set of it, which is stored (:class:`GeneratedClip`).

    Args:
        protocol: the protocol.
        source: the clip on disk.
        wrap: applied once to each clip that is read from disk (read-ahead shared by LQ and GT).
        generation: where the dataset's generated LQ sets lie; only protocols that make such sets need it.

    Raises:
        DataError: the clip lacks GT or LQ, its sizes are not multiples of φs, or LQ and GT do not match.
        DataError: the clip is shorter than one window.
        BenchError: the file that the protocol needs could not be opened.
    """
    lq: Clip
    gt: Clip | None
    if protocol.needs == "gt":
        lq, gt, generated = _from_gt(protocol, source, wrap, generation)
    else:
        lq, gt = _given(protocol, source, wrap)
        generated = None
    notes = list(source.notes)
    if protocol.needs == "gt" and source.lq is not None:
        notes.append("LQ on disk was seen and not used")
    total, step = len(lq), protocol.time_scale
    frames = _plan_frames(protocol, source.name, total)
    if frames.lq.step > 1:
        lq = lq.select(frames.lq, _slower(lq.frame_rate, frames.lq.step))
    if gt is not None and frames.gt != range(total):
        assert frames.gt is not None  # only the rule «all» has no GT, and it reads none
        gt = gt.select(frames.gt)
    if gt is not None and frames.tail is not None:
        notes.append(frames.tail)
    return Sample(
        name=source.name,
        lq=lq,
        gt=gt,
        scale=protocol.scale,
        time_scale=step,
        out_frames=frames.out_frames,
        frame_rate=None if lq.frame_rate is None else lq.frame_rate * step,
        scored=range(frames.out_frames),
        key_frames=frames.key_frames,
        windows=frames.windows,
        generated=generated,
        notes=(*notes, *frames.notes),
    )


def _plan_frames(protocol: Protocol, clip: str, total: int) -> FramePlan:
    try:
        return plan_frames(protocol.frame_rule, total, protocol.time_scale)
    except ValueError as error:
        windows = parse_windows(protocol.frame_rule)
        assert windows is not None  # the other rules take any clip
        raise DataError(
            f"clip '{clip}' is too short for protocol '{protocol.id}'",
            got=str(error),
            accepted=f"at least {windows.length} frames",
            action="choose another protocol, or leave the clip out with dataset.clips",
        ) from error


def makes_sets(protocol: Protocol) -> bool:
    """Whether ``protocol`` makes LQ sets that are stored: its degradation needs the whole clip."""
    return protocol.degradation is not None and not DEGRADATIONS[protocol.degradation].per_frame


def _from_gt(
    protocol: Protocol, source: SourceSample, wrap: Wrap | None, generation: Generation | None
) -> tuple[Clip, Clip, GeneratedClip | None]:
    """Return LQ, GT, and LQ's stored set where it has one."""
    gt = _read_by(_take(protocol, source, "gt"), wrap)
    if protocol.degradation is None:
        return gt, gt, None
    scale = protocol.scale
    if gt.height % scale or gt.width % scale:
        raise DataError(
            f"clip '{source.name}': its size is not a multiple of {scale}, which protocol '{protocol.id}' needs",
            got=f"{gt.height} rows × {gt.width} columns",
            accepted=f"multiples of {scale}, for example {gt.height - gt.height % scale} × "
            f"{gt.width - gt.width % scale}",
            action="cut the clip beforehand; nothing is cropped silently",
        )
    degradation = DEGRADATIONS[protocol.degradation]
    if isinstance(degradation, ClipDegradation):
        if generation is None:
            raise ConfigError(
                f"protocol '{protocol.id}' makes LQ sets that are stored",
                got="no place for them",
                accepted="generation=Generation.of(dataset)",
            )
        generated = GeneratedClip(gt, degradation, scale, protocol.degradation_seed, generation, source.name)
        return _read_by(generated, wrap), gt, generated
    frame_degradation = degradation

    def degrade(frames: Frames) -> Frames:
        return frame_degradation.apply(frames, scale)

    key = f"{degradation.id}@{degradation.version} 1/{scale}"
    return MappedClip(gt, degrade, (gt.height // scale, gt.width // scale), key), gt, None


def _given(protocol: Protocol, source: SourceSample, wrap: Wrap | None) -> tuple[Clip, Clip | None]:
    lq = _take(protocol, source, "lq")
    if protocol.frame_rule == "all":
        return _read_by(lq, wrap), None
    if "gt" in source.errors:
        raise source.errors["gt"]
    gt = source.gt
    if gt is None:
        return _read_by(lq, wrap), None
    if len(lq) != len(gt):
        raise DataError(
            f"clip '{source.name}': LQ and GT have different numbers of frames",
            got=f"{len(lq)} LQ and {len(gt)} GT frames",
            accepted="equal numbers: frame i of one is frame i of the other, in natural order of the file names",
            action="remove or add frames on disk; nothing is cut silently",
        )
    if (lq.height * protocol.scale, lq.width * protocol.scale) != (gt.height, gt.width):
        found = scale_between(lq, gt)
        at_gt_size = " (LQ is stored at GT size)" if found == 1 else ""
        raise DataError(
            f"clip '{source.name}': GT is not ×{protocol.scale} as large as LQ, which protocol '{protocol.id}' needs",
            got=f"LQ {lq.height} rows × {lq.width} columns, GT {gt.height} × {gt.width}: "
            + (f"×{found}{at_gt_size}" if found else f"none of ×{', ×'.join(map(str, KNOWN_SCALES))}"),
            accepted=f"LQ of {gt.height / protocol.scale:g} × {gt.width / protocol.scale:g} for this GT",
            action="choose a protocol of that scale or other LQ files (dataset.lq_role); nothing is resized silently",
        )
    return _read_by(lq, wrap), _read_by(gt, wrap)


def scale_between(lq: Clip, gt: Clip) -> int | None:
    """Return s of 1, 2, 3, 4, 8 with LQ size · s = GT size on both sides; ``None`` where there is none."""
    for scale in KNOWN_SCALES:
        if (lq.height * scale, lq.width * scale) == (gt.height, gt.width):
            return scale
    return None


def _take(protocol: Protocol, source: SourceSample, role: Role) -> Clip:
    error: BenchError | None = source.errors.get(role) or source.errors.get("plain")
    clip = (source.gt if role == "gt" else source.lq) or source.plain
    if clip is not None and error is None:
        return clip
    if error is not None:
        raise error
    what = {"gt": "GT", "lq": "LQ"}
    raise DataError(
        f"clip '{source.name}' has no {what[role]}, which protocol '{protocol.id}' needs",
        got="only " + (" and ".join(what[r] for r, c in (("gt", source.gt), ("lq", source.lq)) if c) or "nothing"),
        action="choose another protocol or dataset.root",
    )


def _read_by(clip: Clip, wrap: Wrap | None) -> Clip:
    return clip if wrap is None else wrap(clip)


def _slower(rate: Fraction | None, step: int) -> Fraction | None:
    return None if rate is None else rate / step
