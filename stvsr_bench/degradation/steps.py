"""The recipe of one clip: every step with every value drawn beforehand, as plain JSON that can be read and stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stvsr_bench.core.errors import DataError

FORMAT = 1
"""Raised when recipes of older form can no longer be read."""

Kernel = Literal["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso", "sinc"]
Interpolation = Literal["bilinear", "area", "bicubic"]
VideoCodec = Literal["libx264", "h264", "mpeg4"]
Domain = Literal["unit", "byte"]
Size = tuple[int, int]
"""Rows and columns."""

_Value = TypeVar("_Value")


def at(values: Sequence[_Value], frame: int) -> _Value:
    """Return the value of one frame: a list holds one value for every frame, or a single one for all of them.

    >>> at([95], 7), at([95, 92, 94], 2)
    (95, 94)
    """
    return values[0] if len(values) == 1 else values[frame]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Step(_Model):
    """One operation on the frames of a part; lists hold one value per frame of the part, or one for all.

    Attributes:
        name: which step of the pipeline it is; also part of the key of its numbers.
    """

    name: str


class Blur(_Step):
    """Correlation with a kernel that is built anew for every frame.

    Attributes:
        kernel: its form.
        size: taps per side.
        pad_to: side of the square of zeros that the kernel is laid into; ``None`` for none.
        sigma_x: width in pixels along the first axis; of Gaussian, generalized and plateau kernels.
        sigma_y: width along the second axis; of anisotropic kernels.
        rotation: of the axes, in radians; of anisotropic kernels.
        beta: exponent of generalized and plateau kernels.
        omega: cut-off in radians per pixel; of sinc kernels.
    """

    kind: Literal["blur"] = "blur"
    kernel: Kernel
    size: Annotated[int, Field(ge=1)]
    pad_to: int | None = None
    sigma_x: list[float] | None = None
    sigma_y: list[float] | None = None
    rotation: list[float] | None = None
    beta: list[float] | None = None
    omega: list[float] | None = None


class Resize(_Step):
    """Resampling to a size.

    Attributes:
        interpolation: how.
        backend: ``cv2`` (``cv2.resize``) or ``torch`` (``interpolate`` without antialiasing).
        sizes: rows and columns of the result.
        factors: the factor that ``torch`` is given instead of the size; ``None`` where it is given the size.
    """

    kind: Literal["resize"] = "resize"
    interpolation: Interpolation
    backend: Literal["cv2", "torch"]
    sizes: list[Size]
    factors: list[float] | None = None


class Noise(_Step):
    """Additive Gaussian noise, or Poisson noise that depends on the picture.

    Attributes:
        model: which.
        gray: one field for the three channels.
        level: Gaussian: standard deviation in units of 0..255; Poisson: factor of the noise.
        domain: Poisson: whether counts are made from values of 0..1 (``unit``) or 0..255 (``byte``, weaker by √255).
        clip: cut values off at 0 and 255 afterwards.
        key: the field of frame t is drawn from the stream ``[key, t]``, t counted from the clip's start.
    """

    kind: Literal["noise"] = "noise"
    model: Literal["gaussian", "poisson"]
    gray: bool
    level: list[float]
    domain: Domain | None = None
    clip: bool
    key: str


class Jpeg(_Step):
    """JPEG compression and decompression of every frame.

    Attributes:
        backend: ``cv2`` (libjpeg, whole-number qualities, result of 8 bit) or ``diff`` (Real-ESRGAN's arithmetic on
            floating-point values; values are cut off at 0 and 255 before it).
        quality: 1 … 100.
        rounding: ``cv2``: how values become whole numbers before it.
        channels: ``cv2``: ``rgb_as_bgr`` gives RGB frames to a function that expects BGR, so that red and blue are
            taken for each other in the colour conversion.
    """

    kind: Literal["jpeg"] = "jpeg"
    backend: Literal["cv2", "diff"]
    quality: list[float]
    rounding: Literal["round", "truncate"] | None = None
    channels: Literal["rgb_as_bgr", "rgb"] | None = None


class Video(_Step):
    """Compression of all frames of the part as one video at 1 frame per second.

    Values are cut off at 0 and 255 and truncated to whole numbers before it.

    Attributes:
        codec: FFmpeg's name of the encoder.
        bitrate: target in bits per second, which is bits per frame.
        odd: what happens to an odd number of rows or columns, which the encoders refuse: ``pad`` adds a mirrored one
            and takes it off again, ``crop`` takes the last one off for good.
        size: rows and columns of the result; frames of other sizes are first resampled to that of frame 0.
    """

    kind: Literal["video"] = "video"
    codec: VideoCodec
    bitrate: Annotated[int, Field(ge=1)]
    odd: Literal["pad", "crop"]
    size: Size


class Sharpen(_Step):
    """Unsharp masking.

    Attributes:
        radius: side of the Gaussian window; an even one is enlarged by one.
        weight: how much of the difference is added.
        threshold: smallest difference, in units of 0..255, that is sharpened.
    """

    kind: Literal["sharpen"] = "sharpen"
    radius: int = 50
    weight: float = 0.5
    threshold: float = 10.0


Step = Annotated[Blur | Resize | Noise | Jpeg | Video | Sharpen, Field(discriminator="kind")]


class Part(_Model):
    """Frames that go through the same steps together: a whole clip, or one frame where each is drawn alone.

    Attributes:
        first: the first frame.
        count: how many frames.
        steps: what is done to them, in order.
    """

    first: Annotated[int, Field(ge=0)]
    count: Annotated[int, Field(ge=1)]
    steps: list[Step]

    @model_validator(mode="after")
    def _lists_fit(self) -> Part:
        for step in self.steps:
            for name, values in step:
                if isinstance(values, list) and len(values) not in (1, self.count):
                    raise ValueError(f"{step.name}.{name} has {len(values)} values for {self.count} frames")
        return self


class Recipe(_Model):
    """Everything that makes LQ from the frames of one clip, with nothing left to chance.

    Attributes:
        format: form of this record.
        degradation: id of the degradation that drew it.
        version: that degradation's version.
        generator: how numbers were, and noise fields are, drawn.
        seed: the protocol's degradation seed.
        dataset: the dataset's id, which the numbers depend on.
        clip: the clip's id, which the numbers depend on.
        frames: frames of the clip.
        size: rows and columns of GT.
        scale: factor between GT and LQ.
        parts: the work, in the order of the frames.
    """

    format: Literal[1] = 1
    degradation: str
    version: int
    generator: Literal["philox4x64+numpy-legacy@1"] = "philox4x64+numpy-legacy@1"
    seed: int
    dataset: str
    clip: str
    frames: Annotated[int, Field(ge=1)]
    size: Size
    scale: Annotated[int, Field(ge=1)]
    parts: list[Part]

    @model_validator(mode="after")
    def _parts_follow(self) -> Recipe:
        reached = 0
        for part in self.parts:
            if part.first != reached:
                raise ValueError(f"a part begins at frame {part.first}, the one before it ends at {reached}")
            reached += part.count
        if reached != self.frames:
            raise ValueError(f"the parts have {reached} frames, the clip {self.frames}")
        return self

    @property
    def output_size(self) -> Size:
        """Rows and columns of LQ."""
        return self.size[0] // self.scale, self.size[1] // self.scale


def read_recipe(value: object) -> Recipe:
    """Check a recipe that came from JSON.

    Raises:
        DataError: a field is missing, unknown or of another type or version.
    """
    try:
        return Recipe.model_validate(value)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise DataError(
            "a degradation recipe cannot be read",
            got=f"{where}: {fault['msg']}"
            + (f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""),
            accepted=f"a recipe of format {FORMAT} with the fields of {Recipe.__module__}.Recipe",
            action="draw it again with this version, or use the version that drew it",
        ) from error
