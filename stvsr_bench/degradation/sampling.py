"""Drawing the recipe of a clip: everything random that a pipeline decides, before any frame is read."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from stvsr_bench.degradation.presets import BITRATES, INTERPOLATIONS, SIZES, BlurDraw, Preset, Range, ResizeDraw, Stage
from stvsr_bench.degradation.steps import (
    Blur,
    Jpeg,
    Noise,
    Part,
    Recipe,
    Resize,
    Sharpen,
    Size,
    Step,
    Video,
)
from stvsr_bench.degradation.streams import Stream, stream_key

_CLIP = "clip"
_ORDER = ("sigma_x", "sigma_y", "rotation", "beta_generalized", "beta_plateau", "omega")
_SINC_CHANGE = 13
_PAD = 21


def sample_recipe(preset: Preset, dataset: str, clip: str, frames: int, size: Size, scale: int, seed: int) -> Recipe:
    """Draw the recipe of one clip.

    Every step has a stream of its own for every frame, named by the pipeline and its version, the seed, the dataset,
    the clip, the step and the frame (or the word ``clip`` for what the whole clip shares). So nothing depends on the
    order of the work or on other clips and steps, and the first frames' values not on how many follow.

    Values are kept to six decimals, so that a recipe reads well and survives any JSON writer.

    Args:
        preset: what is drawn from which ranges.
        dataset: the dataset's id.
        clip: the clip's id.
        frames: how many frames.
        size: rows and columns of GT, multiples of ``scale``.
        scale: factor between GT and LQ.
        seed: the degradation seed.
    """

    def stream(step: str, frame: int | str) -> Stream:
        name = preset.stream or f"{preset.id}@{preset.version}"
        return Stream(stream_key(name, seed, dataset, clip, step, frame))

    if preset.family == "clip":
        parts = [Part(first=0, count=frames, steps=_ClipDraw(preset, stream, frames, size, scale).steps())]
    else:
        parts = [
            Part(first=t, count=1, steps=_FrameDraw(preset, stream, t, size, scale).steps()) for t in range(frames)
        ]
    return Recipe(
        degradation=preset.id,
        version=preset.version,
        seed=seed,
        dataset=dataset,
        clip=clip,
        frames=frames,
        size=size,
        scale=scale,
        parts=parts,
    )


class _Draw:
    """What both families share: streams, and the values that are drawn once for a clip or once for a frame.

    Args:
        preset: the pipeline.
        stream: makes the stream of a step and frame.
        frame: the frame that is drawn, or ``clip``.
        size: rows and columns of GT.
        scale: factor between GT and LQ.
    """

    def __init__(
        self, preset: Preset, stream: Callable[[str, int | str], Stream], frame: int | str, size: Size, scale: int
    ) -> None:
        self.preset = preset
        self.stream = stream
        self.frame = frame
        self.size = size
        self.scale = scale
        self.output = size[0] // scale, size[1] // scale

    def begin(self, step: str) -> Stream:
        """Return the stream of what ``step`` draws for the clip, or for the frame where frames are drawn alone."""
        return self.stream(step, self.frame)

    def sharpen(self) -> list[Step]:
        return [Sharpen(name="sharpen")] if self.preset.sharpen else []

    def noise_type(self, step: str, stage: Stage, stream: Stream) -> tuple[Range, dict[str, Any]]:
        """Draw the kind of noise; returns the range of its level and the fields of the step but the level."""
        gaussian = stream.chance(0.5)
        level = stage.noise.sigma if gaussian else stage.noise.scale
        fields = {
            "name": step,
            "model": "gaussian" if gaussian else "poisson",
            "gray": stream.chance(stage.noise.gray),
            "domain": None if gaussian else self.preset.poisson_domain,
            "clip": self.preset.family == "frame",
            "key": self.stream(step, "field").key,
        }
        return level, fields

    def video(self, step: str, size: Size, odd: str) -> list[Video]:
        if not self.preset.codecs:
            return []
        stream = self.begin(step)
        codec, bitrate = stream.choice(self.preset.codecs), stream.integer(*BITRATES)
        if odd == "crop":
            size = size[0] - size[0] % 2, size[1] - size[1] % 2
        return [Video.model_validate({"name": step, "codec": codec, "bitrate": bitrate, "odd": odd, "size": size})]


class _ClipDraw(_Draw):
    """RealBasicVSR's family: one draw for a clip; values walk from frame to frame.

    Order: blur1 resize1 noise1 jpeg1 video1, blur2 resize2 noise2 jpeg2, then video2 before or after (equally probable)
    resize_final with blur_final.
    """

    def __init__(
        self, preset: Preset, stream: Callable[[str, int | str], Stream], frames: int, size: Size, scale: int
    ) -> None:
        super().__init__(preset, stream, _CLIP, size, scale)
        self.frames = frames

    def steps(self) -> list[Step]:
        first, second = self.preset.first, self.preset.second
        steps = self.sharpen()
        steps += self.blur("blur1", first.blur)
        resize1 = self.resize("resize1", first.resize, self.size)
        # the encoder takes its size from frame 0 and brings the others to it
        reached = resize1.sizes[0]
        steps += [resize1, self.noise("noise1", first), self.jpeg("jpeg1"), *self.video("video1", reached, "pad")]
        steps += self.blur("blur2", second.blur)
        resize2 = self.resize("resize2", second.resize, reached)
        steps += [resize2, self.noise("noise2", second), self.jpeg("jpeg2")]
        interpolation = self.begin("resize_final").choice(INTERPOLATIONS)
        final: list[Step] = [
            Resize(name="resize_final", interpolation=interpolation, backend="cv2", sizes=[self.output]),
            *self.blur("blur_final", self.preset.final_blur),
        ]
        if self.begin("shuffle").chance(0.5):
            return [*steps, *self.video("video2", resize2.sizes[0], "pad"), *final]
        return [*steps, *final, *self.video("video2", self.output, "pad")]

    def blur(self, step: str, draw: BlurDraw) -> list[Step]:
        stream = self.begin(step)
        if not stream.chance(draw.probability):
            return []
        kernel, size = stream.choice(list(draw.kernels), list(draw.kernels.values())), stream.choice(SIZES)
        omega = draw.omega_small if size < _SINC_CHANGE else draw.omega_large
        ranges = (draw.sigma, draw.sigma, draw.rotation, draw.beta_generalized, draw.beta_plateau, omega)
        values = [stream.uniform(r.low, r.high) for r in ranges]
        beta = _ORDER.index("beta_generalized" if kernel.startswith("generalized") else "beta_plateau")
        used = _used(kernel)
        lists: dict[str, list[float]] = {name: [] for name in used}
        for t in range(self.frames):
            numbers = self.stream(step, t)
            if t:
                values = [_next(v, r, numbers) for v, r in zip(values, ranges, strict=True)]
            for name in used:
                value = values[beta if name == "beta" else _ORDER.index(name)]
                # the leak: every frame draws its exponent anew between the walking one and 1
                lists[name].append(numbers.uniform(value, 1.0) if name == "beta" else value)
        fields = {name: _shorten(column, omega.high if name == "omega" else math.inf) for name, column in lists.items()}
        return [Blur.model_validate({"name": step, "kernel": kernel, "size": size, **fields})]

    def resize(self, step: str, draw: ResizeDraw, size: Size) -> Resize:
        stream = self.begin(step)
        interpolation, factor = stream.choice(INTERPOLATIONS), _factor(draw, stream)
        factors = self.walk(step, factor, draw.factor)
        sizes = [(_even(size[0], f), _even(size[1], f)) for f in factors]
        return Resize(name=step, interpolation=interpolation, backend="cv2", sizes=_equal(sizes))

    def noise(self, step: str, stage: Stage) -> Noise:
        stream = self.begin(step)
        level, fields = self.noise_type(step, stage, stream)
        values = self.walk(step, stream.uniform(level.low, level.high), level)
        return Noise.model_validate({**fields, "level": _shorten(values)})

    def jpeg(self, step: str) -> Jpeg:
        quality = self.preset.quality
        values = self.walk(step, self.begin(step).uniform(quality.low, quality.high), quality, whole=True)
        return Jpeg(
            name=step,
            backend="cv2",
            quality=_shorten(values),
            rounding=self.preset.jpeg_rounding,
            channels="rgb_as_bgr",
        )

    def walk(self, step: str, value: float, bounds: Range, *, whole: bool = False) -> list[float]:
        """Return a value for each frame; with ``whole`` each is rounded before the next step is taken from it."""
        values = []
        for t in range(self.frames if bounds.step else 1):
            if t:
                value = _next(value, bounds, self.stream(step, t))
            value = float(round(value)) if whole else value
            values.append(value)
        return values


class _FrameDraw(_Draw):
    """Real-ESRGAN's family: everything is drawn for each frame alone.

    Order: blur1 resize1 noise1 jpeg1 (video1), blur2 resize2 noise2, then jpeg2 before or after (equally probable)
    resize_final with blur_final, then (video2).
    """

    def steps(self) -> list[Step]:
        first, second = self.preset.first, self.preset.second
        steps = self.sharpen()
        steps += self.blur("blur1", first.blur)
        stream = self.begin("resize1")
        interpolation, factor = stream.choice(INTERPOLATIONS), round(_factor(first.resize, stream), 6)
        reached = max(1, int(self.size[0] * factor)), max(1, int(self.size[1] * factor))
        steps.append(
            Resize(name="resize1", interpolation=interpolation, backend="torch", sizes=[reached], factors=[factor])
        )
        steps += [self.noise("noise1", first), self.jpeg("jpeg1"), *self.video("video1", reached, "crop")]
        steps += self.blur("blur2", second.blur)
        stream = self.begin("resize2")
        interpolation, factor = stream.choice(INTERPOLATIONS), _factor(second.resize, stream)
        height = max(1, int(self.size[0] / self.scale * factor))
        width = self.size[1] if self.preset.width_fault else max(1, int(self.size[1] / self.scale * factor))
        steps.append(Resize(name="resize2", interpolation=interpolation, backend="torch", sizes=[(height, width)]))
        steps.append(self.noise("noise2", second))
        interpolation = self.begin("resize_final").choice(INTERPOLATIONS)
        final: list[Step] = [
            Resize(name="resize_final", interpolation=interpolation, backend="torch", sizes=[self.output]),
            *self.blur("blur_final", self.preset.final_blur),
        ]
        jpeg = self.jpeg("jpeg2")
        steps += [jpeg, *final] if self.begin("shuffle").chance(0.5) else [*final, jpeg]
        # released code would cut an odd row or column off here too, and LQ would no longer be GT / scale
        return [*steps, *self.video("video2", self.output, "pad")]

    def blur(self, step: str, draw: BlurDraw) -> list[Step]:
        stream = self.begin(step)
        if not stream.chance(draw.probability):
            return []
        kernel, size = stream.choice(list(draw.kernels), list(draw.kernels.values())), stream.choice(SIZES)
        omega = draw.omega_small if size < _SINC_CHANGE else draw.omega_large
        beta = draw.beta_generalized if kernel.startswith("generalized") else draw.beta_plateau
        values = {
            "sigma_x": stream.uniform(draw.sigma.low, draw.sigma.high),
            "sigma_y": stream.uniform(draw.sigma.low, draw.sigma.high),
            "rotation": stream.uniform(draw.rotation.low, draw.rotation.high),
            "beta": stream.uniform(beta.low, 1) if stream.chance(0.5) else stream.uniform(1, beta.high),
            "omega": stream.uniform(omega.low, omega.high),
        }
        fields = {name: _shorten([values[name]], omega.high if name == "omega" else math.inf) for name in _used(kernel)}
        return [Blur.model_validate({"name": step, "kernel": kernel, "size": size, "pad_to": _PAD, **fields})]

    def noise(self, step: str, stage: Stage) -> Noise:
        stream = self.begin(step)
        level, fields = self.noise_type(step, stage, stream)
        return Noise.model_validate({**fields, "level": _shorten([stream.uniform(level.low, level.high)])})

    def jpeg(self, step: str) -> Jpeg:
        value = self.begin(step).uniform(self.preset.quality.low, self.preset.quality.high)
        return Jpeg(name=step, backend="diff", quality=_shorten([value]))


def _used(kernel: str) -> tuple[str, ...]:
    """Return the names of the values that a kernel form takes."""
    if kernel == "sinc":
        return ("omega",)
    names: tuple[str, ...] = ("sigma_x", "sigma_y", "rotation") if kernel.endswith("aniso") else ("sigma_x",)
    return names if kernel in ("iso", "aniso") else (*names, "beta")


def _next(value: float, bounds: Range, stream: Stream) -> float:
    """Take one step of a walk; a number is drawn even where the step is 0."""
    return min(max(value + stream.uniform(-bounds.step, bounds.step), bounds.low), bounds.high)


def _factor(draw: ResizeDraw, stream: Stream) -> float:
    mode = stream.choice(("up", "down", "keep"), draw.modes)
    if mode == "keep":
        return 1.0
    return stream.uniform(1, draw.factor.high) if mode == "up" else stream.uniform(draw.factor.low, 1)


def _even(side: int, factor: float) -> int:
    """Return the even size of mmagic's ``is_size_even``; at least 2."""
    return max(2, 2 * (int(side * factor) // 2))


def _shorten(values: list[float], limit: float = math.inf) -> list[float]:
    """Round to six decimals, not above ``limit``: kernels refuse a cut-off above π."""
    return _equal([min(round(value, 6), limit) for value in values])


def _equal(values: list[Any]) -> list[Any]:
    """Return one value for all frames where all are equal."""
    return values[:1] if all(value == values[0] for value in values) else values
