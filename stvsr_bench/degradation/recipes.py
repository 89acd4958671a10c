"""The degradations that make LQ frames from GT frames, by id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from stvsr_bench.core.errors import DataError
from stvsr_bench.degradation.imresize import imresize
from stvsr_bench.video.clip import Frames


@dataclass(frozen=True)
class Degradation:
    """A named, versioned recipe from GT frames to LQ frames.

    Attributes:
        id: name in protocols and results.
        version: raised by any change that moves a sample; part of the restore key.
        describe: what it does, with every convention that moves a sample.
        function: uint8 ``(T, 3, H, W)`` and factor → uint8 ``(T, 3, H / factor, W / factor)``.
    """

    id: str
    version: int
    describe: str
    function: Callable[[Frames, int], Frames]

    def apply(self, frames: Frames, scale: int) -> Frames:
        """Shrink ``frames`` by ``scale``.

        Shapes: uint8 ``(T, 3, H, W)`` → uint8 ``(T, 3, H / scale, W / scale)``.

        Args:
            frames: GT frames.
            scale: spatial factor φs.

        Raises:
            DataError: a side is not a multiple of ``scale``; cutting it off silently would change what is compared.
        """
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


DEGRADATIONS: dict[str, Degradation] = {
    "bi": Degradation(
        id="bi",
        version=1,
        describe="MATLAB imresize(I, 1/scale, 'bicubic') on uint8: a = -0.5, antialiased, mirrored boundary, rows "
        "first, rounded to uint8 after each pass",
        function=_bi,
    ),
}
"""Every degradation that protocols may name."""
