"""The degradations that work frame by frame: bicubic (BI) and Gaussian blur with subsampling (BD), by id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import ClassVar

from stvsr_bench.core.errors import ConfigError, DataError
from stvsr_bench.degradation.blur_subsample import blur_subsample
from stvsr_bench.degradation.imresize import imresize
from stvsr_bench.video.clip import Frames


@dataclass(frozen=True)
class FrameDegradation:
    """A named, versioned way from GT frames to LQ frames in which every frame stands alone.

    Attributes:
        id: name in protocols and results.
        version: raised by any change that moves a sample; part of the restore key.
        describe: what it does, with every convention that moves a sample.
        function: uint8 ``(T, 3, H, W)`` and factor → uint8 ``(T, 3, H / factor, W / factor)``.
        scales: the factors it is defined for; ``None`` for all.
        per_frame: always true: applying it to some frames of a clip gives what those frames are in the whole clip.
    """

    id: str
    version: int
    describe: str
    function: Callable[[Frames, int], Frames]
    scales: tuple[int, ...] | None = None
    per_frame: ClassVar[bool] = True

    def apply(self, frames: Frames, scale: int) -> Frames:
        """Shrink ``frames`` by ``scale``.

        Shapes: uint8 ``(T, 3, H, W)`` → uint8 ``(T, 3, H / scale, W / scale)``.

        Args:
            frames: GT frames.
            scale: spatial factor φs.

        Raises:
            ConfigError: the degradation is not defined for ``scale``.
            DataError: a side is not a multiple of ``scale``; cutting it off silently would change what is compared.
        """
        if self.scales is not None and scale not in self.scales:
            raise ConfigError(
                f"degradation '{self.id}' is not defined for this factor",
                got=f"×{scale}",
                accepted=", ".join(f"×{s}" for s in self.scales),
                action="choose a protocol of that factor, or degradation 'bi', which takes any",
            )
        height, width = int(frames.shape[2]), int(frames.shape[3])
        if height % scale or width % scale:
            raise DataError(
                f"degradation '{self.id}': frames cannot be reduced by {scale}",
                got=f"{width}×{height}",
                accepted=f"sides that are multiples of {scale}, for instance "
                f"{width - width % scale}×{height - height % scale}",
                action="cut the ground truth to such a size and keep that as a dataset of its own",
            )
        return self.function(frames, scale)


def _bi(frames: Frames, scale: int) -> Frames:
    return imresize(frames, Fraction(1, scale))


def _bi_float(frames: Frames, scale: int) -> Frames:
    return imresize(frames, Fraction(1, scale), rounding="once")


def _bd(form: str, frames: Frames, scale: int) -> Frames:
    return blur_subsample(frames, form)


FRAMEWISE: dict[str, FrameDegradation] = {
    one.id: one
    for one in (
        FrameDegradation(
            id="bi",
            version=1,
            describe="MATLAB imresize(I, 1/scale, 'bicubic') on uint8: a = -0.5, antialiased, mirrored boundary, rows "
            "first, rounded to uint8 after each pass",
            function=_bi,
        ),
        FrameDegradation(
            id="bi_float",
            version=1,
            describe="MATLAB imresize(im2double(I), 1/scale, 'bicubic') and imwrite: a = -0.5, antialiased, mirrored "
            "boundary, rounded to uint8 once at the end",
            function=_bi_float,
        ),
        FrameDegradation(
            id="bd",
            version=1,
            describe="Gaussian blur of σ = 1.6 and every 4th pixel, centred: 12×12 taps at ±0.5 … ±5.5, LQ pixel i at "
            "GT pixel 4i + 1.5, edge pixels repeated, clipped and rounded once (BasicVSR's BD)",
            function=partial(_bd, "centred"),
            scales=(4,),
        ),
        FrameDegradation(
            id="bd_offset0",
            version=1,
            describe="Gaussian blur of σ = 1.6 and every 4th pixel from pixel 0: 13×13 taps, LQ pixel i at GT pixel 4i "
            "(1.5 pixels up and left of bicubic), boundary mirrored about the edge pixel, rounded once (DUF, PFNL)",
            function=partial(_bd, "offset0"),
            scales=(4,),
        ),
        FrameDegradation(
            id="bd_offset2",
            version=1,
            describe="Gaussian blur of σ = 1.6 and every 4th pixel from pixel 2: 13×13 taps, LQ pixel i at GT pixel "
            "4i + 2 (0.5 pixels down and right of bicubic), boundary mirrored about the edge pixel, rounded once",
            function=partial(_bd, "offset2"),
            scales=(4,),
        ),
    )
}
"""Every degradation that works frame by frame, by id."""
