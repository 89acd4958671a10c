"""Degradations that need the whole clip: parameters drawn per clip, walks from frame to frame, video compression."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from stvsr_bench.core.errors import ConfigError, DataError
from stvsr_bench.degradation.presets import PRESETS, Preset
from stvsr_bench.degradation.sampling import sample_recipe
from stvsr_bench.degradation.steps import read_recipe
from stvsr_bench.video.clip import Frames


@dataclass(frozen=True)
class ClipDegradation:
    """A named, versioned way from the frames of a clip to its LQ frames.

    What is random is drawn beforehand into a recipe, a small JSON value; the recipe and the frames alone fix LQ. What
    is drawn depends on the degradation and its version, the seed, the dataset and the clip, and on nothing else; the
    values of the first frames do not depend on how many follow.

    >>> import torch
    >>> recipe = CLIPWISE["dove"].sample("vid4", "calendar", frames=3, size=(64, 96), scale=4, seed=0)
    >>> [step["name"] for step in recipe["parts"][0]["steps"]][:4]
    ['blur1', 'resize1', 'noise1', 'jpeg1']
    >>> lq = CLIPWISE["dove"].apply(recipe, [torch.zeros(3, 3, 64, 96, dtype=torch.uint8)])
    >>> torch.cat(list(lq)).shape
    torch.Size([3, 3, 16, 24])

    Attributes:
        preset: what is drawn from which ranges.
        per_frame: always false: the LQ of some frames is not that of these frames in the whole clip.
    """

    preset: Preset
    per_frame: ClassVar[bool] = False

    @property
    def id(self) -> str:
        """Name in protocols and results."""
        return self.preset.id

    @property
    def version(self) -> int:
        """Raised by any change that moves a sample; part of the restore key."""
        return self.preset.version

    @property
    def describe(self) -> str:
        """What it does, with every convention that moves a sample."""
        return self.preset.describe()

    def sample(
        self, dataset: str, clip: str, frames: int, size: tuple[int, int], scale: int, seed: int
    ) -> dict[str, Any]:
        """Draw the recipe of one clip.

        Args:
            dataset: the dataset's id without variant, so that a clip has one recipe in all of them.
            clip: the clip's canonical name.
            frames: how many frames it has, at full rate: space is degraded before frames are dropped.
            size: rows and columns of GT.
            scale: factor between GT and LQ.
            seed: the protocol's degradation seed.

        Returns:
            The recipe as plain JSON; :class:`stvsr_bench.degradation.steps.Recipe` says what its fields mean.

        Raises:
            ConfigError: frames, scale or seed is out of range.
            DataError: a side is not a multiple of ``scale``, or too small.
        """
        if frames < 1 or scale < 1 or seed < 0:
            raise ConfigError(
                f"degradation '{self.id}': clip '{clip}' cannot be given a recipe",
                got=f"{frames} frames, scale {scale}, seed {seed}",
                accepted="at least one frame, a scale of 1 or more, a seed of 0 or more",
            )
        height, width = size
        if height % scale or width % scale or min(size) < MIN_SIDE or min(size) < 2 * scale:
            least = max(MIN_SIDE, 2 * scale)
            raise DataError(
                f"degradation '{self.id}': clip '{clip}' cannot be reduced by {scale}",
                got=f"{width}×{height}",
                accepted=f"sides that are multiples of {scale} and at least {least}",
                action="cut the ground truth to such a size and keep that as a dataset of its own",
            )
        return sample_recipe(self.preset, dataset, clip, frames, size, scale, seed).model_dump(
            mode="json", exclude_none=True
        )

    def apply(self, recipe: dict[str, Any], blocks: Iterable[Frames]) -> Iterator[Frames]:
        """Make LQ: a pure function of the recipe and the frames, in memory that does not grow with their number.

        Shapes: blocks of uint8 ``(T, 3, H, W)`` → blocks of uint8 ``(T', 3, H / scale, W / scale)``, in order; the
        blocks need not be of the same lengths.

        Args:
            recipe: from :meth:`sample`, directly or through JSON.
            blocks: the clip's frames, for instance ``clip.blocks(8)``.

        Raises:
            DataError: the recipe is another degradation's or version's, or does not fit the frames.
        """
        checked = read_recipe(recipe)
        if (checked.degradation, checked.version) != (self.id, self.version):
            raise DataError(
                f"degradation '{self.id}': the recipe of clip '{checked.clip}' is another's",
                got=f"{checked.degradation}@{checked.version}",
                accepted=f"{self.id}@{self.version}",
                action="draw it again with this version, or use the version that drew it",
            )
        # Imported here: PyAV and OpenCV are needed only where frames are made, not where degradations are listed.
        from stvsr_bench.degradation.pipeline import apply_recipe

        return apply_recipe(checked, blocks)

    def libraries(self) -> dict[str, str]:
        """Return the versions of the libraries whose arithmetic LQ depends on."""
        from stvsr_bench.degradation.pipeline import libraries

        return libraries()


MIN_SIDE = 32
"""Shortest side of GT: the first round leaves 15 % of it and the second 30 % of that."""

CLIPWISE: dict[str, ClipDegradation] = {preset.id: ClipDegradation(preset) for preset in PRESETS}
"""Every degradation that needs the whole clip, by id."""
