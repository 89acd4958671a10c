"""BD against OpenCV's filter, its phase, its arithmetic and its refusals."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from stvsr_bench.core.errors import ConfigError, DataError
from stvsr_bench.degradation.blur_subsample import FORMS, blur_subsample, gaussian, weight_matrix

OPENCV = {
    # size, anchor (the pixel under the result), border, first pixel kept
    "centred": (12, 5, cv2.BORDER_REPLICATE, 1),
    "offset0": (13, 6, cv2.BORDER_REFLECT_101, 0),
    "offset2": (13, 6, cv2.BORDER_REFLECT_101, 2),
}


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def by_opencv(frame: np.ndarray, form: str) -> np.ndarray:
    """Blur with the two-dimensional kernel, then keep every fourth pixel: the order of the definition."""
    size, anchor, border, first = OPENCV[form]
    grid = np.arange(size) - (size - 1) / 2
    kernel = np.exp(-(grid[:, None] ** 2 + grid[None] ** 2) / (2 * 1.6**2))
    blurred = cv2.filter2D(
        frame.astype(np.float64), cv2.CV_64F, kernel / kernel.sum(), anchor=(anchor, anchor), borderType=border
    )
    return np.asarray(np.floor(blurred[first::4, first::4].clip(0, 255) + 0.5), np.uint8)


@pytest.mark.parametrize("form", list(FORMS))
def test_equals_blurring_by_opencv_and_keeping_every_fourth_pixel(form: str) -> None:
    frames = noise(2, 3, 44, 68)
    frames[1] = frames[1] // 128 * 255  # black and white: the blur comes near both ends of the range
    expected = [[by_opencv(channel.numpy(), form) for channel in frame] for frame in frames]
    np.testing.assert_array_equal(blur_subsample(frames, form).numpy(), np.array(expected))


@pytest.mark.parametrize(("form", "position"), [("centred", 1.5), ("offset0", 0.0), ("offset2", 2.0)])
def test_a_ramp_tells_the_position_of_the_samples(form: str, position: float) -> None:
    assert FORMS[form].position == position
    # a symmetric blur leaves a straight ramp as it is, so that a sample's value is its position
    matrix = weight_matrix(80, FORMS[form])
    found = (matrix @ np.arange(80.0))[2:-2]
    np.testing.assert_allclose(found, np.arange(2, 18) * 4 + position, atol=1e-12)


def test_the_second_moment_is_sigma_squared() -> None:
    for taps in (12, 13):
        weights, x = gaussian(taps), np.arange(taps) - (taps - 1) / 2
        assert weights.sum() == pytest.approx(1, abs=1e-15)
        np.testing.assert_array_equal(weights, weights[::-1])
        # cut off at 5.5 or 6 of sigma 1.6
        assert (weights * x**2).sum() == pytest.approx(1.6**2, rel=0.01)


@pytest.mark.parametrize("form", list(FORMS))
def test_constant_frames_stay_constant(form: str) -> None:
    for level in (0, 1, 127, 254, 255):
        assert (blur_subsample(torch.full((1, 3, 16, 20), level, dtype=torch.uint8), form) == level).all()


def test_ties_round_up() -> None:
    frames = torch.full((1, 1, 48, 48), 100, dtype=torch.uint8)
    frames[..., 26:] = 101  # the edge passes through the middle of the kernel of column 6, at 25.5
    assert (weight_matrix(48, FORMS["centred"])[6, 26:].sum()) == pytest.approx(0.5, abs=1e-12)
    assert (blur_subsample(frames)[..., 6] == 101).all()
    assert (blur_subsample(frames.transpose(2, 3))[..., 6, :] == 101).all()


@pytest.mark.parametrize("form", list(FORMS))
def test_batch_size_threads_and_memory_layout_change_nothing(form: str) -> None:
    frames = noise(5, 3, 60, 84)
    whole = blur_subsample(frames, form)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert torch.equal(whole, torch.cat([blur_subsample(frame[None], form) for frame in frames]))
    finally:
        torch.set_num_threads(threads)
    turned = frames.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2)
    assert torch.equal(whole, blur_subsample(turned, form))


@pytest.mark.parametrize("form", list(FORMS))
def test_the_smallest_frames_and_none(form: str) -> None:
    frames = noise(1, 3, 4, 8)  # the kernel is larger than the frame
    border = OPENCV[form][2]
    padded = [cv2.copyMakeBorder(channel.numpy(), 16, 16, 16, 16, border) for channel in frames[0]]
    expected = np.array([by_opencv(channel, form) for channel in padded])[:, 4:5, 4:6]
    np.testing.assert_array_equal(blur_subsample(frames, form)[0].numpy(), expected)
    assert blur_subsample(frames[:0], form).shape == (0, 3, 1, 2)


def test_refusals() -> None:
    frames = noise(1, 3, 8, 8)
    with pytest.raises(ConfigError, match=r"unknown form of BD 'center'.*did you mean 'centred'"):
        blur_subsample(frames, "center")
    with pytest.raises(DataError, match="float32"):
        blur_subsample(frames.float())
    for wrong in (frames[0], frames[..., :7], frames[:, :, :0]):
        with pytest.raises(DataError, match="multiples of 4"):
            blur_subsample(wrong)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("form", list(FORMS))
def test_a_gpu_gives_the_same_samples(form: str) -> None:
    frames = noise(2, 3, 60, 84)
    assert torch.equal(blur_subsample(frames.cuda(), form).cpu(), blur_subsample(frames, form))
