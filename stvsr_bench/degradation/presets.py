"""The parameters of the random pipelines, as tables: what the published training code draws from which range."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from stvsr_bench.degradation.steps import Domain, Interpolation, Kernel, VideoCodec


@dataclass(frozen=True)
class Range:
    """A value drawn uniformly between two bounds, which may then walk from frame to frame.

    Attributes:
        low: lower bound, of the walk too.
        high: upper bound, of the walk too.
        step: a frame's value is that of the frame before plus U(-step, step), cut off at the bounds; 0 keeps it.
    """

    low: float
    high: float
    step: float = 0.0


@dataclass(frozen=True)
class BlurDraw:
    """What a random blur draws.

    Attributes:
        probability: of blurring at all.
        kernels: forms and their probabilities.
        sigma: width along each axis, in pixels.
        rotation: in radians.
        beta_generalized: exponent of generalized Gaussians.
        beta_plateau: exponent of plateau kernels.
        omega_small: cut-off of sinc kernels of fewer than 13 taps a side, radians per pixel.
        omega_large: the same of 13 taps or more.
    """

    probability: float
    kernels: dict[Kernel, float]
    sigma: Range
    rotation: Range
    beta_generalized: Range
    beta_plateau: Range
    omega_small: Range
    omega_large: Range


@dataclass(frozen=True)
class ResizeDraw:
    """What a random resize draws.

    Attributes:
        modes: probabilities of enlarging, shrinking, and keeping the size.
        factor: bounds of the factor: enlarging draws from 1 … high, shrinking from low … 1.
    """

    modes: tuple[float, float, float]
    factor: Range


@dataclass(frozen=True)
class NoiseDraw:
    """What random noise draws; Gaussian and Poisson are equally probable.

    Attributes:
        sigma: Gaussian standard deviation, units of 0..255.
        scale: factor of Poisson noise.
        gray: probability of one field for all channels.
    """

    sigma: Range
    scale: Range
    gray: float = 0.4


@dataclass(frozen=True)
class Stage:
    """One of the two rounds of blur, resize and noise."""

    blur: BlurDraw
    resize: ResizeDraw
    noise: NoiseDraw


@dataclass(frozen=True)
class Preset:
    """One random pipeline.

    Attributes:
        id: name of the degradation.
        version: raised by any change that moves a drawn number or a sample.
        summary: what it is, whose, and which conventions it has; the rest of ``describe`` is written from the fields.
        stream: whose numbers it draws; twins that differ in one convention share them. Empty for its own.
        family: ``clip`` draws once for a clip and lets values walk (RealBasicVSR); ``frame`` draws everything for each
            frame alone (Real-ESRGAN).
        first: first round.
        second: second round.
        quality: JPEG quality in both rounds.
        codecs: of the video compressions, equally probable; empty for no video compression.
        final_blur: the sinc filter beside the final resize.
        poisson_domain: see ``Noise.domain``.
        jpeg_rounding: how values become whole numbers before libjpeg (``clip`` family).
        width_fault: the second resize forgets to divide the width by the scale (STAR's released generator).
        sharpen: degrade the sharpened GT instead of GT.
    """

    id: str
    version: int
    summary: str
    family: Literal["clip", "frame"]
    first: Stage
    second: Stage
    quality: Range
    codecs: tuple[VideoCodec, ...]
    final_blur: BlurDraw
    poisson_domain: Domain
    jpeg_rounding: Literal["round", "truncate"] = "round"
    width_fault: bool = False
    sharpen: bool = False
    stream: str = ""

    def describe(self) -> str:
        """Return what the pipeline does, with every convention that moves a sample."""
        return "; ".join((self.summary, *_CONVENTIONS[self.family], *self._choices()))

    def _choices(self) -> Iterator[str]:
        yield f"Poisson noise made in the {'0..1' if self.poisson_domain == 'unit' else '0..255'} domain"
        if self.family == "clip":
            yield f"values {'rounded' if self.jpeg_rounding == 'round' else 'truncated'} before JPEG"
        if self.codecs:
            yield _VIDEO
            yield _ODD[self.family]
        yield "the sharpened GT is degraded" if self.sharpen else "GT is degraded as it is, not sharpened"
        yield _ENDING


SIZES = tuple(range(7, 22, 2))
"""Taps per side of blur kernels, equally probable."""

INTERPOLATIONS: tuple[Interpolation, ...] = ("bilinear", "area", "bicubic")
"""Ways of resizing, equally probable."""

BITRATES = (10_000, 100_000)
"""Bounds of the bit rate of video compression: bits per frame, since the rate is 1 frame per second."""

_CONVENTIONS: dict[str, tuple[str, ...]] = {
    "clip": (
        "order: blur, resize, noise, JPEG, video; blur (80 %), resize, noise, JPEG; then video before or after "
        "(equally probable) the resize to GT / scale with a sinc filter (80 %)",
        "both random resizes are relative to the size reached, to even sizes of at least 2; where the factor walks it "
        "does so in every mode, 'keep' too, between the bounds of all modes",
        "exponents of generalized and plateau kernels: drawn anew for every frame between the clip's value and 1, the "
        "leak of the published code",
        "float32 from GT on; what comes from JPEG is 8 bit until noise or video, so that resizing and filtering it "
        "rounds",
        "JPEG takes red for blue and blue for red in its colour conversion, as published; chroma 4:2:0",
    ),
    "frame": (
        "order: blur, resize, noise, JPEG; blur (80 %), resize, noise; then JPEG before or after (equally probable) "
        "the resize to GT / scale with a sinc filter (80 %)",
        "the second resize is relative to GT / scale; sizes rounded down; resizing by torch without antialiasing",
        "kernels laid into 21×21; exponents below or above 1 with equal probability",
        "values cut off at 0 and 255 after noise; JPEG is the real-valued DiffJPEG",
    ),
}
_VIDEO = (
    "video: MP4 at 1 frame per second, average bit rate of 10 000 to 100 000 bits per frame, yuv420p, values cut off "
    "at 0 and 255 and truncated before it, one thread and mbtree=0 for repeatable results, frames of other sizes "
    "resampled to that of frame 0"
)
_ODD = {
    "clip": "odd sizes padded by one mirrored row or column for the encoder and cut back",
    "frame": "one video after JPEG of the first round (an odd row or column is cut off for good, as released) and one "
    "at the end (padded and cut back, so that LQ is GT / scale)",
}
_ENDING = (
    "at the end cut off at 0 and 255 and rounded to 8 bit, half to even; every number drawn from a counter-based "
    "stream of its (degradation@version, seed, dataset, clip, step, frame)"
)

_KERNELS: dict[Kernel, float] = {
    "iso": 0.405,
    "aniso": 0.225,
    "generalized_iso": 0.108,
    "generalized_aniso": 0.027,
    "plateau_iso": 0.108,
    "plateau_aniso": 0.027,
    "sinc": 0.1,
}


def _blur(probability: float, sigma: float, walk: bool) -> BlurDraw:
    """Return the blur of one round; ``sigma`` is the greatest width."""
    on = 1.0 if walk else 0.0
    return BlurDraw(
        probability=probability,
        kernels=_KERNELS,
        sigma=Range(0.2, sigma, 0.02 * on),
        rotation=Range(-3.1416, 3.1416, 0.31416 * on),
        beta_generalized=Range(0.5, 4, 0.05 * on),
        beta_plateau=Range(1, 2, 0.1 * on),
        omega_small=Range(math.pi / 3, math.pi, 0.0628 * on),
        omega_large=Range(math.pi / 5, math.pi, 0.0628 * on),
    )


def _stages(walk: bool) -> tuple[Stage, Stage]:
    """Return both rounds, with or without the walks from frame to frame."""
    on = 1.0 if walk else 0.0
    first = Stage(
        blur=_blur(1.0, 3.0, walk),
        resize=ResizeDraw((0.2, 0.7, 0.1), Range(0.15, 1.5, 0.015 * on)),
        noise=NoiseDraw(Range(1, 30, 0.1 * on), Range(0.05, 3, 0.005 * on)),
    )
    second = Stage(
        blur=_blur(0.8, 1.5, walk),
        resize=ResizeDraw((0.3, 0.4, 0.3), Range(0.3, 1.2, 0.03 * on)),
        noise=NoiseDraw(Range(1, 25, 0.1 * on), Range(0.05, 2.5, 0.005 * on)),
    )
    return first, second


def _final_blur(walk: bool) -> BlurDraw:
    """Return the final sinc filter, whose cut-off has one range for all sizes."""
    draw = _blur(0.8, 1.5, walk)
    return replace(draw, kernels={"sinc": 1.0}, omega_large=draw.omega_small)


_WALKING, _STILL = _stages(True), _stages(False)
_CODECS: tuple[VideoCodec, ...] = ("libx264", "h264", "mpeg4")

REALBASICVSR = Preset(
    id="realbasicvsr",
    version=1,
    summary="RealBasicVSR's second-order pipeline with the numbers of mmagic and the strong Poisson noise of the code "
    "that RealBasicVSR was trained with; kernels, sizes, noise levels and JPEG quality walk from frame to frame. The "
    "training code degrades the sharpened GT",
    family="clip",
    first=_WALKING[0],
    second=_WALKING[1],
    quality=Range(30, 95, 3),
    codecs=_CODECS,
    final_blur=_final_blur(True),
    poisson_domain="unit",
)

DOVE = Preset(
    id="dove",
    version=1,
    summary="DOVE's variant of RealBasicVSR's second-order pipeline: nothing walks from frame to frame but the JPEG "
    "quality, and values are truncated before JPEG. DOVE's random crops in space and time serve training and are left "
    "out: every frame is degraded whole",
    family="clip",
    first=_STILL[0],
    second=_STILL[1],
    quality=Range(30, 95, 3),
    codecs=_CODECS,
    final_blur=_final_blur(False),
    poisson_domain="byte",
    jpeg_rounding="truncate",
)

REAL_ESRGAN = Preset(
    id="real_esrgan",
    version=1,
    summary="Real-ESRGAN's second-order pipeline for pictures, drawn anew for every frame, so that LQ flickers; no "
    "video compression",
    family="frame",
    first=_STILL[0],
    second=_STILL[1],
    quality=Range(30, 95),
    codecs=(),
    final_blur=_final_blur(False),
    poisson_domain="unit",
)

STAR = replace(
    REAL_ESRGAN,
    id="star",
    summary="STAR's released generator: Real-ESRGAN's pipeline and two video compressions, all drawn anew for every "
    "frame and every frame encoded as a video of its own, so that LQ flickers. The released fault is kept: the second "
    "resize does not divide the width by the scale. STAR's generator sharpens GT, degrades the sharpened frames and "
    "trains against them; here GT stays as it is and is degraded as it is, and LQ is not enlarged again",
    codecs=_CODECS,
    width_fault=True,
)

PRESETS: tuple[Preset, ...] = (
    REALBASICVSR,
    replace(
        REALBASICVSR,
        id="realbasicvsr_byte",
        stream=f"{REALBASICVSR.id}@{REALBASICVSR.version}",
        poisson_domain="byte",
        summary="degradation 'realbasicvsr', with the same numbers drawn, but the weak Poisson noise of mmagic 1.x",
    ),
    DOVE,
    replace(
        DOVE,
        id="dove_unit",
        stream=f"{DOVE.id}@{DOVE.version}",
        poisson_domain="unit",
        summary="degradation 'dove', with the same numbers drawn, but the strong Poisson noise of the original code",
    ),
    REAL_ESRGAN,
    STAR,
    replace(
        STAR,
        id="star_fixed",
        stream=f"{STAR.id}@{STAR.version}",
        width_fault=False,
        summary="degradation 'star', with the same numbers drawn, but without the fault in the width of the second "
        "resize: STAR's pipeline (Real-ESRGAN's and two video compressions) with every frame drawn and encoded alone",
    ),
)
"""Every random pipeline that protocols may name."""
