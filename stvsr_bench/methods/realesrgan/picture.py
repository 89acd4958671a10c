"""The official picture pipeline of Real-ESRGAN: padding, tiles, and whole pictures of 8 or 16 bits, grey or with alpha.

Source: Real-ESRGAN a4abfb2. Differences: memory that runs out raises (there the tile before is pasted again), and the
value range follows the type of the picture unless the official guess is asked for.
"""

from __future__ import annotations

import itertools
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from stvsr_bench.core.errors import ConfigError
from stvsr_bench.nn.padding import pad_frames, padded_length

Picture = NDArray[Any]


class Network(Protocol):
    """RGB in [0, 1] ``(1, 3, h, w)`` to ``(1, 3, scale·h, scale·w)``, for sides that are multiples of ``multiple``."""

    scale: int

    @property
    def multiple(self) -> int:
        """Input sides must be multiples of this."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Run the network."""


def enlarge(
    network: Network, frame: torch.Tensor, *, tile: int = 0, tile_pad: int = 10, pre_pad: int = 0
) -> torch.Tensor:
    """Run ``network`` on one frame ``(1, 3, h, w)``; returns ``(1, 3, scale·h, scale·w)``, not clamped.

    Args:
        network: any of the two.
        frame: RGB in [0, 1], in the network's dtype and on its device.
        tile: side of the tiles in input pixels; 0 runs the frame whole. Tiles are visible: the network sees further
            than any ``tile_pad``.
        tile_pad: input pixels around a tile that the network sees too, cut at the frame's borders.
        pre_pad: input pixels mirrored at the right and bottom before anything else, and cut off at the end.

    Raises:
        ConfigError: ``pre_pad`` is not smaller than the frame, or a tile's sides are no multiples of what the network
            needs.
    """
    height, width = frame.shape[-2:]
    if pre_pad >= min(height, width):
        raise ConfigError(
            "method.pre_pad mirrors more than there is",
            got=f"pre_pad={pre_pad} for frames of {width}×{height}",
            accepted="less than either side",
        )
    padded = pad_frames(frame, height + pre_pad, width + pre_pad)
    tall, wide = (padded_length(side, network.multiple) for side in padded.shape[-2:])
    padded = pad_frames(padded, tall, wide)
    out = _tiled(network, padded, tile, tile_pad) if tile else network(padded)
    return out[..., : height * network.scale, : width * network.scale]


def _tiled(network: Network, frame: torch.Tensor, tile: int, tile_pad: int) -> torch.Tensor:
    height, width = frame.shape[-2:]
    scale, multiple = network.scale, network.multiple
    rows, columns = (
        [
            (start, min(start + tile, side), max(start - tile_pad, 0), min(start + tile + tile_pad, side))
            for start in range(0, side, tile)
        ]
        for side in (height, width)
    )
    if any((stop - start) % multiple for *_, start, stop in rows + columns):
        raise ConfigError(
            "the network cannot run these tiles",
            got=f"method.tile={tile}, method.tile_pad={tile_pad}",
            accepted=f"multiples of {multiple} for a network of scale {scale}",
        )
    out = frame.new_empty(len(frame), 3, height * scale, width * scale)
    for (top, bottom, y0, y1), (left, right, x0, x1) in itertools.product(rows, columns):
        part = network(frame[..., y0:y1, x0:x1])
        out[..., top * scale : bottom * scale, left * scale : right * scale] = part[
            ..., (top - y0) * scale : (bottom - y0) * scale, (left - x0) * scale : (right - x0) * scale
        ]
    return out


@torch.inference_mode()
def enhance(
    network: Network,
    image: Picture,
    *,
    tile: int = 0,
    tile_pad: int = 10,
    pre_pad: int = 10,
    outscale: float | None = None,
    alpha_upsampler: str = "realesrgan",
    guess_range: bool = False,
) -> Picture:
    """Enlarge a picture as the official ``enhance`` does; float32 on the CPU.

    Args:
        network: any of the two, on the CPU.
        image: as OpenCV reads it: ``(h, w)``, ``(h, w, 3)`` BGR or ``(h, w, 4)`` BGRA, uint8 or uint16.
        tile: as in :func:`enlarge`.
        tile_pad: as in :func:`enlarge`.
        pre_pad: as in :func:`enlarge`; the official scripts pass 0.
        outscale: size of the result relative to ``image`` where it is not the network's scale: the rounded picture is
            resized (Lanczos over 4 pixels, no antialiasing).
        alpha_upsampler: ``realesrgan`` runs the network on alpha too; anything else is bilinear.
        guess_range: take a picture without values above 256 for 8 bits whatever its type, as the official code does.

    Returns:
        The picture, of the type of ``image`` (uint8 where 8 bits were guessed).
    """
    sixteen = bool(image.max() > 256) if guess_range else image.dtype == np.uint16
    top = np.float32(65535 if sixteen else 255)
    values = image.astype(np.float32) / top

    def run(bgr: Picture) -> Picture:
        frame = torch.from_numpy(np.ascontiguousarray(bgr[..., ::-1].transpose(2, 0, 1)))[None]
        out = enlarge(network, frame, tile=tile, tile_pad=tile_pad, pre_pad=pre_pad).clamp(0, 1)
        return np.ascontiguousarray(out[0].numpy()[::-1].transpose(1, 2, 0))

    def run_grey(grey: Picture) -> Picture:
        large: Picture = cv2.cvtColor(run(np.repeat(grey[..., None], 3, 2)), cv2.COLOR_BGR2GRAY)
        return large

    height, width = image.shape[:2]
    if image.ndim == 2:
        out = run_grey(values)
    else:
        out = run(values[..., :3])
        if image.shape[2] == 4:
            alpha = values[..., 3]
            size = (width * network.scale, height * network.scale)
            large = (
                run_grey(alpha)
                if alpha_upsampler == "realesrgan"
                else cv2.resize(alpha, size, interpolation=cv2.INTER_LINEAR)
            )
            out = np.dstack([out, large])
    result = np.rint(out * top).astype(np.uint16 if sixteen else np.uint8)
    if outscale is not None and outscale != network.scale:
        size = (int(width * outscale), int(height * outscale))
        result = cv2.resize(result, size, interpolation=cv2.INTER_LANCZOS4)
    return result
