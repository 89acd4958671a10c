"""Applying a protocol: from the files of one clip to what a method gets and what its output is compared with."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from stvsr_bench.core.errors import BenchError, DataError
from stvsr_bench.data.protocol import Protocol, Role
from stvsr_bench.data.sample import Sample, SourceSample
from stvsr_bench.degradation.recipes import DEGRADATIONS
from stvsr_bench.video.clip import Clip, Frames, MappedClip

KNOWN_SCALES = (1, 2, 3, 4, 8)
"""Factors between LQ and GT that are recognised, for messages."""

Wrap = Callable[[Clip], Clip]


def apply_protocol(protocol: Protocol, source: SourceSample, wrap: Wrap | None = None) -> Sample:
    """Return the sample that ``protocol`` makes of ``source``; nothing is decoded here.

    The frame rule ``every`` keeps frames 0, φt, 2φt … : of T frames N = floor((T - 1) / φt) + 1 stay, and the output
    has (N - 1)·φt + 1 frames, which are frames 0 … (N - 1)·φt of GT. The tail of GT after them has no right neighbour
    and is not scored. Under ``all`` every LQ frame stays and the output has no GT. Space is degraded before frames
    are dropped; recipes that work frame by frame are applied to the kept frames only, which is the same.

    Args:
        protocol: the protocol.
        source: the clip on disk.
        wrap: applied once to each clip that is read from disk (read-ahead shared by LQ and GT).

    Raises:
        DataError: the clip lacks GT or LQ, its sizes are not multiples of φs, or LQ and GT do not match.
        BenchError: the file that the protocol needs could not be opened.
    """
    lq, gt = _generated(protocol, source, wrap) if protocol.needs == "gt" else _given(protocol, source, wrap)
    notes = list(source.notes)
    if protocol.needs == "gt" and source.lq is not None:
        notes.append("LQ on disk was seen and not used")
    total, step = len(lq), protocol.time_scale
    if protocol.frame_rule == "every" and step > 1:
        lq = lq.select(range(0, total, step), _slower(lq.frame_rate, step))
    out_frames = (len(lq) - 1) * step + 1
    if gt is not None and out_frames < total:
        tail = f"frame {out_frames} has" if out_frames == total - 1 else f"frames {out_frames}-{total - 1} have"
        notes.append(f"GT {tail} no right neighbour in LQ and {'is' if ' has' in tail else 'are'} not scored")
        gt = gt.select(range(out_frames))
    if step > 1 and len(lq) == 1:
        notes.append("one LQ frame: there is nothing to interpolate")
    return Sample(
        name=source.name,
        lq=lq,
        gt=gt,
        scale=protocol.scale,
        time_scale=step,
        out_frames=out_frames,
        frame_rate=None if lq.frame_rate is None else lq.frame_rate * step,
        scored=range(out_frames),
        key_frames=range(0, out_frames, step),
        notes=tuple(notes),
    )


def _generated(protocol: Protocol, source: SourceSample, wrap: Wrap | None) -> tuple[Clip, Clip]:
    gt = _read_by(_take(protocol, source, "gt"), wrap)
    if protocol.degradation is None:
        return gt, gt
    scale = protocol.scale
    if gt.height % scale or gt.width % scale:
        raise DataError(
            f"clip '{source.name}': its size is not a multiple of {scale}, which protocol '{protocol.id}' needs",
            got=f"{gt.height} rows × {gt.width} columns",
            accepted=f"multiples of {scale}, for example {gt.height - gt.height % scale} × "
            f"{gt.width - gt.width % scale}",
            action="cut the clip beforehand; nothing is cropped silently",
        )
    recipe = DEGRADATIONS[protocol.degradation]

    def degrade(frames: Frames) -> Frames:
        return recipe.apply(frames, scale)

    key = f"{recipe.id}@{recipe.version} 1/{scale}"
    return MappedClip(gt, degrade, (gt.height // scale, gt.width // scale), key), gt


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
