"""LQ files that have GT's rows and columns: what ``dataset.lq_size`` makes of them.

MVSR4x and RealVSR store LQ at GT size, and papers read such files in two ways: as they are, restored at ×1 (DOVE runs
them with ``--upscale 1``), or shrunk by 4 first and restored at ×4 (EAVSR). The two give other numbers and no paper of
the five says which it used, so nothing is assumed here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stvsr_bench.core.errors import ConfigError, DataError, IncompatibleError
from stvsr_bench.data.protocol import Protocol, known_protocols, load_protocol

if TYPE_CHECKING:
    from stvsr_bench.video.clip import Clip, Frames

LQ_SIZES = ("gt", "shrink4")
"""Accepted values: the files as they are, or shrunk by 4 first."""

SHRINK = 4
_KEY = f"shrink{SHRINK} cv2 cubic @1"


class LqSizeError(DataError):
    """LQ is stored at GT size and nothing says how to read it, or the reading asked for does not fit the files."""


def check_lq_size(value: Any, dataset: str) -> str | None:
    """Return ``value`` if ``dataset.lq_size`` may have it.

    Raises:
        ConfigError: it is none of :data:`LQ_SIZES` and not ``None``.
    """
    if value is None or value in LQ_SIZES:
        return None if value is None else str(value)
    raise ConfigError(
        f"dataset '{dataset}': dataset.lq_size is unknown",
        got=repr(value),
        accepted="gt (LQ files of GT's size as they are, ×1) or shrink4 (shrunk by 4 first, ×4)",
        action="correct dataset.lq_size, or leave it out where LQ is smaller than GT",
    )


def at_gt_size(gt: Clip | None, lq: Clip, card_says: bool) -> bool:
    """Say whether ``lq`` has GT's rows and columns: by the files where GT is there, else by the card."""
    return card_says if gt is None else (gt.height, gt.width) == (lq.height, lq.width)


def read_lq(dataset: str, gt: Clip | None, lq: Clip, choice: str | None, card_says: bool) -> Clip:
    """Return the LQ clip as ``dataset.lq_size`` says it is to be read; nothing is decoded here.

    Args:
        dataset: the dataset's name, for messages.
        gt: the clip's ground truth, where there is one.
        lq: LQ as it is stored.
        choice: ``dataset.lq_size``.
        card_says: the card's ``lq_at_gt_size``, which counts where there is no GT to compare with.

    Raises:
        LqSizeError: LQ has GT's size and ``choice`` is not given (both readings are shown); LQ is smaller than GT and
            ``choice`` is given; or the size is no multiple of 4 under ``shrink4``.
    """
    same = at_gt_size(gt, lq, card_says)
    size = f"{lq.height} rows × {lq.width} columns"
    if not same:
        if choice is None:
            return lq
        raise LqSizeError(
            f"dataset '{dataset}': LQ is not stored at GT size, so dataset.lq_size has no meaning",
            got=f"dataset.lq_size={choice}; clip '{lq.name}': LQ {size}, "
            + ("no GT" if gt is None else f"GT {gt.height} × {gt.width}"),
            accepted="LQ files of GT's rows and columns",
            action="leave dataset.lq_size out",
        )
    shrunk = f"{lq.height / SHRINK:g} × {lq.width / SHRINK:g}"
    if choice is None:
        raise LqSizeError(
            f"dataset '{dataset}': LQ is stored at GT size, and nothing says how to read it",
            got=f"clip '{lq.name}': LQ {size}, " + ("GT is not here" if gt is None else "GT the same"),
            accepted=f"dataset.lq_size=gt: the files as they are, restored at ×1 ({_protocols(1)}); "
            f"or dataset.lq_size={LQ_SIZES[1]}: shrunk by {SHRINK} with OpenCV's bicubic to {shrunk}, as EAVSR does, "
            f"and restored at ×{SHRINK} ({_protocols(SHRINK)})",
            action="add one of the two; their results are never compared in one table",
        )
    if choice == "gt":
        return lq
    if lq.height % SHRINK or lq.width % SHRINK:
        raise LqSizeError(
            f"dataset '{dataset}': LQ cannot be shrunk by {SHRINK}",
            got=f"clip '{lq.name}': {size}",
            accepted=f"multiples of {SHRINK}",
            action="use dataset.lq_size=gt, or cut the files beforehand; nothing is cropped silently",
        )
    from stvsr_bench.video.clip import MappedClip

    clip = MappedClip(lq, shrink, (lq.height // SHRINK, lq.width // SHRINK), _KEY)
    clip.notes = (*lq.notes, f"LQ is stored at GT size and was shrunk by {SHRINK} (dataset.lq_size=shrink4)")
    return clip


def shrink(frames: Frames) -> Frames:
    """Shrink by 4 with OpenCV's bicubic (no antialiasing), on 8-bit samples.

    Shapes: uint8 ``(T, 3, H, W)`` to ``(T, 3, H/4, W/4)``.

    Source: the reader of EAVSR, which divides the stored LR by the scale with ``cv2.INTER_CUBIC`` before use; the
    library's own rounding to 8 bits is kept.
    """
    import cv2
    import numpy as np
    import torch

    found = []
    for frame in frames.numpy():
        image = cv2.merge([np.ascontiguousarray(plane) for plane in frame])
        height, width = image.shape[0] // SHRINK, image.shape[1] // SHRINK
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
        found.append(np.stack(cv2.split(small)))
    return torch.from_numpy(np.stack(found))


def require_scale(dataset: str, choice: str | None, protocol: Protocol) -> None:
    """Raise unless LQ as it is read fits the factor of ``protocol``; to be asked where LQ is stored at GT size.

    Raises:
        IncompatibleError: it does not; both ways out are shown.
    """
    scale = SHRINK if choice == LQ_SIZES[1] else 1
    if protocol.frame_rule == "all" or protocol.scale == scale:
        return
    other = LQ_SIZES[0] if choice == LQ_SIZES[1] else LQ_SIZES[1]
    other_scale = 1 if choice == LQ_SIZES[1] else SHRINK
    fits = f"dataset.lq_size={choice} with {_protocols(scale)}"
    if protocol.scale == other_scale:
        fits += f"; or dataset.lq_size={other} with {protocol.id}"
    raise IncompatibleError(
        f"dataset '{dataset}', read with dataset.lq_size={choice}, does not fit protocol '{protocol.id}'",
        got=f"GT is ×{scale} as large as LQ; the protocol asks for ×{protocol.scale}",
        accepted=fits,
        action="change one of the two",
    )


def _protocols(scale: int) -> str:
    names = [name for name in known_protocols() if (p := load_protocol(name)).source == "given" and p.scale == scale]
    return ", ".join(names) if names else f"no protocol of ×{scale} is known here"
