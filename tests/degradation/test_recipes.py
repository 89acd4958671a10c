"""The table of degradations."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from stvsr_bench.core.errors import DataError
from stvsr_bench.degradation.imresize import imresize
from stvsr_bench.degradation.recipes import DEGRADATIONS


def test_bi_is_matlabs_imresize() -> None:
    frames = torch.randint(0, 256, (2, 3, 24, 36), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    recipe = DEGRADATIONS["bi"]
    assert (recipe.id, recipe.version) == ("bi", 1)
    assert torch.equal(recipe.apply(frames, 4), imresize(frames, Fraction(1, 4)))
    assert recipe.apply(frames, 3).shape == (2, 3, 8, 12)


@pytest.mark.parametrize(("height", "width"), [(25, 36), (24, 37)])
def test_a_size_that_is_no_multiple_is_refused_not_cut(height: int, width: int) -> None:
    frames = torch.zeros(1, 3, height, width, dtype=torch.uint8)
    with pytest.raises(DataError, match=rf"reduced by 4; got {width}×{height}; accepted: .*36×24"):
        DEGRADATIONS["bi"].apply(frames, 4)


def test_ids_are_the_keys_and_every_recipe_describes_itself() -> None:
    for key, recipe in DEGRADATIONS.items():
        assert recipe.id == key
        assert recipe.version >= 1
        assert len(recipe.describe) > 20
