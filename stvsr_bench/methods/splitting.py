"""How the base class runs a method: windows in time, tiles in space, padding, smaller pieces when memory runs out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from stvsr_bench.core.errors import MethodError
from stvsr_bench.methods.base import Method, Report, Request
from stvsr_bench.nn.measure import StageClock
from stvsr_bench.nn.memory import is_out_of_memory, release_memory
from stvsr_bench.nn.padding import pad_frames
from stvsr_bench.nn.windows import Span, merge_stream, merge_tiles, plan_spans
from stvsr_bench.video.clip import Clip, Frames
from stvsr_bench.video.color import to_uint8

BLOCK_PIXELS = 16_000_000
"""Output pixels that a window aims at, so that memory depends on neither frame size nor clip length."""


@dataclass
class _Pieces:
    """The largest pieces that fit, as far as this restoration knows: core LQ frames per window and tile side."""

    frames: int
    tile: int | None = None
    retries: list[dict[str, Any]] = field(default_factory=list)


def restore_in_pieces(
    method: Method, clip: Clip, request: Request, report: Report, clock: StageClock
) -> Iterator[Frames]:
    """Restore ``clip`` window by window; the clip is read forwards, each frame once.

    Neighbouring windows share ``2·context`` LQ frames, and one more where frames are interpolated, whose output is
    emitted once. When memory runs out the piece is halved, first in time, then in space, down to the smallest.

    Raises:
        MethodError: memory runs out for the smallest piece (the message says what was tried), or the method returned
            something else than its contract says.
    """
    stage = report.stage(method.name)
    overlap = _overlap(method, request)
    per_frame = math.prod(request.size(clip.height, clip.width)) * request.time_scale
    core = max(1, min(method.chunk, BLOCK_PIXELS // per_frame)) if method.chunking == "base" else len(clip)
    spans = plan_spans(len(clip), min(core, len(clip)) + overlap, overlap)
    pieces = _Pieces(frames=len(spans[0]) - overlap if len(spans) > 1 else max(len(clip) - overlap, 1))
    report.plan.update(chunk=len(spans[0]), windows=len(spans), tile=None, retries=pieces.retries)

    def blocks() -> Iterator[torch.Tensor]:
        for frames in read_forward(clip, spans):
            with clock:
                block = _run(method, frames, request, pieces)
                if method.merge != "blend":
                    block = _rounded(block)
            stage.seconds, stage.peak_bytes = clock.seconds, clock.peak_bytes
            report.plan.update(chunk=min(len(spans[0]), pieces.frames + overlap), tile=pieces.tile)
            yield block

    for block in merge_stream(blocks(), [s.timed(request.time_scale) for s in spans], method.merge):
        frames = _rounded(block)
        stage.frames += len(frames)
        yield frames
    if pieces.retries:
        tile = f" and tiles of {pieces.tile} pixels" if pieces.tile else ""
        report.notes.append(
            f"{method.name}: memory ran out {len(pieces.retries)} time(s); "
            f"finished in windows of {pieces.frames + overlap} LQ frames{tile}"
        )


def _overlap(method: Method, request: Request) -> int:
    return 2 * method.context + (1 if request.time_scale > 1 else 0)


def read_forward(clip: Clip, spans: Sequence[Span]) -> Iterator[Frames]:
    """Yield the frames of each span, keeping those that the next one shares instead of reading them again.

    Starts and stops never decrease, and no frame between two spans is left out.
    """
    held: Frames | None = None
    at = 0
    for i, span in enumerate(spans):
        parts = [held] if held is not None else []
        if span.stop > at:
            parts.append(clip[at : span.stop])
        frames = torch.cat(parts)
        at = span.stop
        yield frames
        shared = span.stop - spans[i + 1].start if i + 1 < len(spans) else 0
        held = frames[len(frames) - shared :] if shared else None


def _run(method: Method, frames: Frames, request: Request, pieces: _Pieces) -> torch.Tensor:
    """Restore one window, in smaller pieces once memory ran out."""
    while True:
        try:
            return _attempt(method, frames, request, pieces)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            message = str(error).splitlines()[0] if str(error) else type(error).__name__
        # outside the handler, whose traceback would keep the failed attempt's memory
        release_memory(method.device)
        _shrink(method, frames, request, pieces, message)


def _shrink(method: Method, frames: Frames, request: Request, pieces: _Pieces, message: str) -> None:
    overlap = _overlap(method, request)
    height, width = frames.shape[-2:]
    tried = {"frames": min(pieces.frames + overlap, len(frames)), "tile": pieces.tile, "error": message}
    core = min(pieces.frames, max(len(frames) - overlap, 1))
    side = pieces.tile or max(method.size_rule.padded(height), method.size_rule.padded(width))
    smaller = _smaller_tile(method, side)
    pieces.retries.append(tried)
    if method.chunking == "base" and core > 1:
        pieces.frames = core // 2
    elif method.tiling == "base" and smaller is not None and request.scale == int(request.scale):
        pieces.tile = smaller
    else:
        tile = f"tiles of {pieces.tile} pixels" if pieces.tile else f"whole frames of {height}x{width}"
        option = "" if method.memory_option is None else f", or set {method.memory_option}, which moves pixels"
        raise MethodError(
            f"method '{method.name}' ran out of memory on {method.device}, even for its smallest piece",
            got=f"{message}; {len(pieces.retries)} attempts, the last with {tried['frames']} frame(s), {tile}",
            accepted="a frame size whose smallest piece fits",
            action=f"use a device with more memory (chunking: {method.chunking}, tiling: {method.tiling}){option}",
        )


def _smaller_tile(method: Method, side: int) -> int | None:
    """Half the tile's own part plus its overlap, or ``None`` below the smallest."""
    multiple = method.size_rule.multiple
    overlap = _tile_overlap(method)
    core = (side - overlap) // 2 // multiple * multiple
    size = core + overlap
    if core < max(method.minimum_tile, multiple) or size < method.size_rule.minimum:
        return None
    return size


def _tile_overlap(method: Method) -> int:
    """Pixels shared by neighbouring tiles: the reach to either side, in whole multiples."""
    multiple = method.size_rule.multiple
    return 2 * (-(-method.tile_overlap // multiple) * multiple)


def _attempt(method: Method, frames: Frames, request: Request, pieces: _Pieces) -> torch.Tensor:
    overlap = _overlap(method, request)
    spans = plan_spans(len(frames), pieces.frames + overlap, overlap)
    if len(spans) == 1:
        return _tiled(method, frames, request, pieces.tile)
    parts = (_tiled(method, frames[s.start : s.stop], request, pieces.tile) for s in spans)
    timed = [s.timed(request.time_scale) for s in spans]
    return torch.cat([block.cpu() for block in merge_stream(parts, timed, method.merge)])


def _tiled(method: Method, frames: Frames, request: Request, tile: int | None) -> torch.Tensor:
    """Restore frames padded to the size rule, in tiles where ``tile`` says so, and crop back."""
    height, width = frames.shape[-2:]
    tall, wide = method.size_rule.padded(height), method.size_rule.padded(width)
    padded = pad_frames(frames, tall, wide)
    if tile is None:
        out = _block(method, padded, request)
    else:
        overlap, multiple = _tile_overlap(method), method.size_rule.multiple
        rows, columns = (
            plan_spans(side, min(tile, side), overlap if tile < side else 0, align=multiple, last="shift")
            for side in (tall, wide)
        )
        tiles = (
            _kept(method, _block(method, padded[..., r.start : r.stop, c.start : c.stop].contiguous(), request))
            for r in rows
            for c in columns
        )
        scale = int(request.scale)  # whole: at a fractional one, tiles would not meet on output pixels
        out = merge_tiles(tiles, [r.scaled(scale) for r in rows], [c.scaled(scale) for c in columns], method.merge)
    tall, wide = request.size(height, width)
    return out[..., :tall, :wide]


def _kept(method: Method, out: torch.Tensor) -> torch.Tensor:
    """A tile as the canvas holds it: rounded at once, unless it is still to be blended."""
    return out if method.merge == "blend" else _rounded(out)


def _block(method: Method, frames: Frames, request: Request) -> torch.Tensor:
    """Restore one piece padded to the count rule, and check what came back."""
    count, height, width = len(frames), *frames.shape[-2:]
    padded = pad_frames(frames, height, width, method.count_rule.padded(count))
    out = method.restore_block(padded, request)
    expected = ((len(padded) - 1) * request.time_scale + 1, 3, *request.size(height, width))
    floating = out.dtype.is_floating_point
    if tuple(out.shape) != expected or not (floating or out.dtype == torch.uint8):
        raise _contract(method, request, f"{tuple(out.shape)} {out.dtype}", f"{expected} float or uint8")
    if floating and not bool(torch.isfinite(out).all()):
        bad = int((~torch.isfinite(out)).sum())
        raise _contract(method, request, f"{bad} of {out.numel()} values that are not finite", "finite values")
    return out[: (count - 1) * request.time_scale + 1]


def _contract(method: Method, request: Request, got: str, accepted: str) -> MethodError:
    return MethodError(
        f"method '{method.name}' broke its contract on clip '{request.name}'",
        got=got,
        accepted=accepted,
        action="this is an error in the method, not in the data",
    )


def _rounded(block: torch.Tensor) -> Frames:
    return block.cpu() if block.dtype == torch.uint8 else to_uint8(block).cpu()
