"""The degradations that work frame by frame: what they are, where their samples lie, what they refuse."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stvsr_bench.core.errors import ConfigError, DataError
from stvsr_bench.degradation.blur_subsample import blur_subsample
from stvsr_bench.degradation.framewise import FRAMEWISE
from stvsr_bench.degradation.imresize import imresize

POSITIONS = {"bi": 1.5, "bi_float": 1.5, "bd": 1.5, "bd_offset0": 0.0, "bd_offset2": 2.0}
"""Where LQ pixel 0 lies in GT pixels at ×4."""


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """A frame with the spectrum of pictures, 1/f, which does not repeat at its edges."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(2 * height)[:, None], np.fft.fftfreq(2 * width)[None])
    frequency[0, 0] = 1
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((2 * height, 2 * width))) / frequency).real
    field = field[:height, :width]
    levels = 128 + 45 * (field - field.mean()) / field.std()
    return torch.from_numpy(levels.clip(0, 255).round().astype(np.uint8)).expand(1, 3, height, width).contiguous()


def position(lq: torch.Tensor, gt: torch.Tensor) -> tuple[float, float]:
    """Where LQ pixel 0 lies in GT, by row and column, from the pixels alone.

    GT is blurred by σ = 1.6 in the frequency domain, where it can be read at any position; least squares find the
    position at which it fits LQ best, from 1 on.
    """
    small, large = (frames.double().mean((0, 1)).numpy() for frames in (lq, gt))
    y, x = np.meshgrid(*(np.fft.fftfreq(side) for side in large.shape), indexing="ij")
    blurred = np.fft.fft2(large) * np.exp(-2 * (np.pi * 1.6) ** 2 * (y**2 + x**2))

    def read(row: float, column: float, factor: np.ndarray | float = 1.0) -> np.ndarray:
        whole = np.fft.ifft2(blurred * factor * np.exp(2j * np.pi * (y * row + x * column))).real
        return whole[::4, ::4][8:-8, 8:-8].ravel()  # away from the edges, over which the transform wraps

    row = column = 1.0
    for _ in range(5):
        slopes = np.stack([read(row, column, 2j * np.pi * axis) for axis in (y, x)], 1)
        step = np.linalg.lstsq(slopes, small[8:-8, 8:-8].ravel() - read(row, column), rcond=None)[0]
        row, column = row + float(step[0]), column + float(step[1])
    return row, column


def test_bi_is_matlabs_imresize() -> None:
    frames = noise(2, 3, 24, 36)
    bi, bi_float = FRAMEWISE["bi"], FRAMEWISE["bi_float"]
    assert (bi.id, bi.version) == ("bi", 1)
    assert torch.equal(bi.apply(frames, 4), imresize(frames, Fraction(1, 4)))
    assert torch.equal(bi_float.apply(frames, 4), imresize(frames, Fraction(1, 4), rounding="once"))
    assert not torch.equal(bi.apply(frames, 4), bi_float.apply(frames, 4))
    for one in (bi, bi_float):
        assert one.apply(frames, 3).shape == (2, 3, 8, 12)
        assert one.apply(frames, 2).shape == (2, 3, 12, 18)


@pytest.mark.parametrize(("name", "form"), [("bd", "centred"), ("bd_offset0", "offset0"), ("bd_offset2", "offset2")])
def test_bd_is_the_form_that_its_name_says(name: str, form: str) -> None:
    frames = noise(2, 3, 24, 36)
    assert torch.equal(FRAMEWISE[name].apply(frames, 4), blur_subsample(frames, form))


@pytest.mark.parametrize("name", list(FRAMEWISE))
def test_samples_lie_where_they_should(name: str) -> None:
    gt = picture(192, 256)
    row, column = position(FRAMEWISE[name].apply(gt, 4), gt)
    assert row == pytest.approx(POSITIONS[name], abs=0.02)
    assert column == pytest.approx(POSITIONS[name], abs=0.02)


@pytest.mark.parametrize("clip", ["calendar", "city", "foliage", "walk"])
def test_samples_lie_where_they_should_on_real_frames(clip: str, shared_data: Path) -> None:
    file = shared_data / "Vid4" / clip / "hr" / "hr_01.webp"
    gt = torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)[None, :, :256, :320]
    for name, expected in POSITIONS.items():
        found = position(FRAMEWISE[name].apply(gt, 4), gt)
        assert found == pytest.approx((expected, expected), abs=0.02), name


@pytest.mark.parametrize("pixels", [(1, 0), (0, -1), (2, 2)])
def test_a_shifted_copy_would_be_noticed(pixels: tuple[int, int]) -> None:
    gt = picture(192, 256)
    for name, expected in POSITIONS.items():
        row, column = position(FRAMEWISE[name].apply(gt.roll(pixels, (2, 3)), 4), gt)
        assert (expected - row, expected - column) == pytest.approx(pixels, abs=0.05)


@pytest.mark.parametrize("name", list(FRAMEWISE))
def test_every_frame_stands_alone(name: str) -> None:
    one, frames = FRAMEWISE[name], noise(5, 3, 32, 48)
    whole = one.apply(frames, 4)
    assert one.per_frame
    assert torch.equal(one.apply(frames[[3, 1]], 4), whole[[3, 1]])
    assert one.apply(frames[:0], 4).shape == (0, 3, 8, 12)


@pytest.mark.parametrize("name", list(FRAMEWISE))
@pytest.mark.parametrize(("height", "width"), [(25, 36), (24, 37)])
def test_a_size_that_is_no_multiple_is_refused_not_cut(name: str, height: int, width: int) -> None:
    frames = torch.zeros(1, 3, height, width, dtype=torch.uint8)
    with pytest.raises(DataError, match=rf"reduced by 4; got {width}×{height}; accepted: .*36×24"):
        FRAMEWISE[name].apply(frames, 4)


@pytest.mark.parametrize("name", ["bd", "bd_offset0", "bd_offset2"])
def test_bd_is_not_defined_for_other_factors(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"'{name}' is not defined for this factor; got ×2; accepted: ×4"):
        FRAMEWISE[name].apply(noise(1, 3, 24, 36), 2)


def test_ids_are_the_keys_and_every_degradation_describes_itself() -> None:
    assert set(FRAMEWISE) == set(POSITIONS)
    for key, one in FRAMEWISE.items():
        assert one.id == key
        assert one.version >= 1
        assert len(one.describe) > 20
    assert len({one.describe for one in FRAMEWISE.values()}) == len(FRAMEWISE)
