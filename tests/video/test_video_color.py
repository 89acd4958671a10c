import math

import pytest
import torch

from stvsr_bench.core.errors import ClipError
from stvsr_bench.video.color import rgb_to_gray, rgb_to_y_bt601, to_float, to_uint8


def test_every_uint8_value_survives_the_round_trip() -> None:
    values = torch.arange(256, dtype=torch.uint8)
    for dtype in (torch.float32, torch.float64, torch.float16):
        assert torch.equal(to_uint8(to_float(values).to(dtype)), values)


def test_rounding_is_half_up_and_clamped() -> None:
    samples = torch.tensor([-3.0, 0.5 / 255, 1.4999 / 255, 1.5 / 255, 2.5 / 255, 7.0], dtype=torch.float64)
    assert to_uint8(samples).tolist() == [0, 1, 1, 2, 3, 255]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_non_finite_samples_are_an_error_that_counts_them(value: float) -> None:
    samples = torch.zeros(2, 3, 4, 4)
    samples[1, 2, 3, 3] = value
    with pytest.raises(ClipError, match="1 of 96 samples NaN or infinite"):
        to_uint8(samples)


def test_wrong_dtypes_are_refused() -> None:
    with pytest.raises(ClipError, match="uint8"):
        to_float(torch.zeros(3))
    with pytest.raises(ClipError, match="floating-point"):
        to_uint8(torch.zeros(3, dtype=torch.uint8))


def test_luma_of_known_colours_and_dtype() -> None:
    # MATLAB rgb2ycbcr of red, green, blue, white and black (double).
    rgb = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0]], dtype=torch.float64)
    luma = rgb_to_y_bt601(rgb[:, :, None, None])
    assert luma.shape == (5, 1, 1, 1)
    assert luma.dtype == torch.float64
    expected = torch.tensor([81.481, 144.553, 40.966, 235.0, 16.0], dtype=torch.float64) / 255
    assert torch.allclose(luma.flatten(), expected, atol=1e-12, rtol=0)
    assert rgb_to_y_bt601(rgb[:, :, None, None].float()).dtype == torch.float32


def test_gray_agrees_with_kornia() -> None:
    from kornia.color import rgb_to_grayscale

    frames = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(rgb_to_gray(frames), rgb_to_grayscale(frames), atol=1e-6)


def test_luma_refuses_other_layouts() -> None:
    with pytest.raises(ClipError, match=r"\(T, 3, H, W\)"):
        rgb_to_y_bt601(torch.zeros(1, 4, 4, 3))
