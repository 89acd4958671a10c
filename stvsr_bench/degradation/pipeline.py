"""Applying a recipe: frames go through its steps one by one, without any chance and without holding a clip."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import torch

from stvsr_bench.core.errors import DataError
from stvsr_bench.degradation import codec
from stvsr_bench.degradation.blur import blur_kernel, filter2d
from stvsr_bench.degradation.frame import Array
from stvsr_bench.degradation.jpeg import diff_jpeg, jpeg, to_bytes
from stvsr_bench.degradation.noise import gaussian, poisson
from stvsr_bench.degradation.resample import resize
from stvsr_bench.degradation.sharpen import unsharp_mask
from stvsr_bench.degradation.steps import (
    Blur,
    Jpeg,
    Noise,
    Part,
    Recipe,
    Resize,
    Sharpen,
    Step,
    Video,
    at,
    read_recipe,
)
from stvsr_bench.degradation.streams import GENERATOR, Stream, stream_key
from stvsr_bench.video.clip import Frames

_BLOCK = 8
"""Frames handed on at once."""


def apply(recipe: dict[str, object], blocks: Iterable[Frames]) -> Iterator[Frames]:
    """Make LQ from a recipe as JSON and the frames; see :func:`apply_recipe`.

    Raises:
        DataError: the recipe cannot be read, or does not fit the frames.
    """
    return apply_recipe(read_recipe(recipe), blocks)


def apply_recipe(recipe: Recipe, blocks: Iterable[Frames]) -> Iterator[Frames]:
    """Make LQ from a recipe and the frames; nothing else decides a sample.

    Frames are float32 of 0..255 between steps, except that a frame that comes from libjpeg stays 8 bit until noise or
    video compression, so that resizing and filtering it rounds and saturates, as in mmagic. At the end values are cut
    off at 0 and 255 and rounded (half to even), as Real-ESRGAN and the original ``Quantize`` do. Memory does not grow
    with the number of frames but for the bit stream of a video compression, at most about 12.5 kB per frame and step.

    Shapes: blocks of uint8 ``(T, 3, H, W)`` → blocks of uint8 ``(T', 3, H / scale, W / scale)``, in order.

    Args:
        recipe: what to do.
        blocks: the frames of the whole clip, in blocks of any lengths.

    Raises:
        DataError: the number or size of the frames is not the recipe's.
    """
    frames = _frames(recipe, blocks)
    done = itertools.chain.from_iterable(_run_part(part, frames) for part in recipe.parts)
    while block := list(itertools.islice(done, _BLOCK)):
        lq = [to_bytes(frame, "round") for frame in block]
        for frame in lq:
            if frame.shape[:2] != recipe.output_size:
                raise DataError(
                    f"the recipe of clip '{recipe.clip}' does not end at its own size",
                    got=f"{frame.shape[1]}×{frame.shape[0]}",
                    accepted=f"{recipe.output_size[1]}×{recipe.output_size[0]}",
                    action="draw the recipe again instead of editing it",
                )
        yield torch.from_numpy(np.stack(lq)).permute(0, 3, 1, 2).contiguous()
    if next(frames, None) is not None:
        raise _wrong_count(recipe, f"more than {recipe.frames}")


def libraries() -> dict[str, str]:
    """Return the versions of what LQ depends on: the libraries and the way in which random numbers are made."""
    return {"generator": GENERATOR, **codec.library_versions()}


def _frames(recipe: Recipe, blocks: Iterable[Frames]) -> Iterator[Array]:
    """Yield the clip's frames as float32 ``(H, W, 3)``, checked against the recipe."""
    count = 0
    for block in blocks:
        if block.dtype != torch.uint8 or block.ndim != 4 or tuple(block.shape[1:]) != (3, *recipe.size):
            raise DataError(
                f"the recipe of clip '{recipe.clip}' does not fit its frames",
                got=f"shape {tuple(block.shape)}, {block.dtype}",
                accepted=f"uint8 (T, 3, {recipe.size[0]}, {recipe.size[1]})",
                action="draw a recipe for frames of this size",
            )
        for frame in block:
            yield np.ascontiguousarray(frame.permute(1, 2, 0).numpy()).astype(np.float32)
            count += 1
    if count < recipe.frames:
        raise _wrong_count(recipe, str(count))


def _wrong_count(recipe: Recipe, got: str) -> DataError:
    return DataError(
        f"the recipe of clip '{recipe.clip}' is for another number of frames",
        got=f"{got} frames",
        accepted=f"{recipe.frames} frames",
        action="draw a recipe for the whole clip; frames are dropped after space is degraded",
    )


def _run_part(part: Part, frames: Iterator[Array]) -> Iterator[Array]:
    work: Iterator[Array] = itertools.islice(frames, part.count)
    for step in part.steps:
        work = _run_video(step, work) if isinstance(step, Video) else _run_step(step, part.first, work)
    return work


def _run_step(step: Step, first: int, frames: Iterator[Array]) -> Iterator[Array]:
    """Run a step that takes frames one by one; ``first`` is the clip's index of the part's first frame."""
    for t, frame in enumerate(frames):
        if isinstance(step, Blur):
            yield _blur(step, t, frame)
        elif isinstance(step, Resize):
            factor = None if step.factors is None else at(step.factors, t)
            yield resize(frame, at(step.sizes, t), step.interpolation, step.backend, scale=factor)
        elif isinstance(step, Noise):
            yield _noise(step, t, first + t, frame)
        elif isinstance(step, Jpeg):
            yield _jpeg(step, t, frame)
        elif isinstance(step, Sharpen):
            yield unsharp_mask(frame, step.radius, step.weight, step.threshold)


def _blur(step: Blur, t: int, frame: Array) -> Array:
    names = ("sigma_x", "sigma_y", "rotation", "beta", "omega")
    values = {name: at(values, t) for name in names if (values := getattr(step, name)) is not None}
    return filter2d(frame, blur_kernel(step.kernel, step.size, pad_to=step.pad_to, **values))


def _noise(step: Noise, t: int, frame_number: int, frame: Array) -> Array:
    stream, level = Stream(stream_key(step.key, frame_number)), at(step.level, t)
    if step.model == "gaussian":
        noisy = gaussian(frame, level, step.gray, stream)
    else:
        noisy = poisson(frame, level, step.gray, step.domain or "unit", stream)
    return np.clip(noisy, 0, 255) if step.clip else noisy


def _jpeg(step: Jpeg, t: int, frame: Array) -> Array:
    quality = at(step.quality, t)
    if step.backend == "diff":
        return diff_jpeg(frame, quality)
    decoded = jpeg(frame, int(quality), step.rounding or "round", step.channels or "rgb_as_bgr")
    return to_bytes(decoded, "truncate")


def _run_video(step: Video, frames: Iterator[Array]) -> Iterator[Array]:
    as_bytes = (to_bytes(frame, "truncate") for frame in frames)
    for decoded in codec.compress(as_bytes, step.codec, step.bitrate, odd=step.odd):
        yield decoded.astype(np.float32)
