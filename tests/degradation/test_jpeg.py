"""JPEG: roundings, channel order and quality of the real codec; the imitation against the real one and by itself."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from stvsr_bench.core.errors import ConfigError, DataError
from stvsr_bench.degradation.jpeg import diff_jpeg, jpeg, to_bytes


def picture(height: int = 96, width: int = 128, seed: int = 0) -> np.ndarray:
    """Smooth colour structures, within 0..255 and not whole numbers."""
    rng = np.random.default_rng(seed)
    field = cv2.GaussianBlur(rng.normal(0, 1, (height, width, 3)).astype(np.float32), (0, 0), 3)
    return np.clip(128 + 45 * field / field.std(), 0, 255).astype(np.float32)


def error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(((a.astype(np.float64) - b.astype(np.float64)) ** 2).mean()))


def test_rounding_is_that_of_opencv_on_a_float_frame() -> None:
    frame = picture()
    frame[:4] = np.array([-3.0, 0.5, 1.5, 260.0], np.float32)[:, None, None]
    _, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 80])
    assert np.array_equal(jpeg(frame, 80), cv2.imdecode(data, cv2.IMREAD_COLOR).astype(np.float32))


def test_truncation_darkens_by_half_a_level() -> None:
    frame = np.random.default_rng(0).uniform(0, 255, (64, 64, 3)).astype(np.float32)
    assert np.array_equal(to_bytes(frame, "truncate"), np.floor(frame).astype(np.uint8))
    assert np.array_equal(to_bytes(frame, "round"), np.rint(frame).astype(np.uint8))
    outside = np.array([[[-5.0, 300.7, 255.9]]], np.float32)
    assert to_bytes(outside, "truncate").tolist() == [[[0, 255, 255]]]
    smooth = picture() * 0.5 + 60
    darker = jpeg(smooth, 95, "round").mean() - jpeg(smooth, 95, "truncate").mean()
    assert darker == pytest.approx(0.5, abs=0.1)


def test_a_byte_frame_needs_no_rounding() -> None:
    frame = picture().astype(np.uint8)
    assert np.array_equal(jpeg(frame, 60, "round"), jpeg(frame, 60, "truncate"))
    assert np.array_equal(jpeg(frame, 60), jpeg(frame.astype(np.float32), 60, "truncate"))


def test_results_are_whole_numbers_and_worse_at_lower_quality() -> None:
    frame = picture()
    errors = []
    for quality in (95, 80, 60, 30, 10):
        done = jpeg(frame, quality)
        assert done.dtype == np.float32
        assert done.shape == frame.shape
        assert np.array_equal(done, np.rint(done))
        errors.append(error(done, frame))
    assert errors == sorted(errors)
    assert errors[0] < 4


def test_proper_channels_are_those_of_another_jpeg_encoder() -> None:
    frame = picture().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=70, subsampling="4:2:0")
    pillow = np.asarray(Image.open(buffer), dtype=np.float32)
    assert error(jpeg(frame, 70, channels="rgb"), pillow) < 0.1
    assert error(jpeg(frame, 70, channels="rgb_as_bgr"), pillow) > 1


def test_swapped_channels_take_the_detail_of_the_other_colour() -> None:
    # fine detail in one colour only: luma sees red with weight 0.299, blue with 0.114
    detail = np.random.default_rng(2).integers(0, 2, (64, 64)).astype(np.float32) * 120 + 60
    red, blue = (np.full((64, 64, 3), 120, np.float32) for _ in "rb")
    red[:, :, 0], blue[:, :, 2] = detail, detail
    loss = {
        (name, order): error(jpeg(frame, 90, channels=order)[:, :, channel], detail)
        for order in ("rgb", "rgb_as_bgr")
        for name, frame, channel in (("red", red, 0), ("blue", blue, 2))
    }
    assert loss["red", "rgb"] < loss["blue", "rgb"] - 3
    assert loss["blue", "rgb_as_bgr"] < loss["red", "rgb_as_bgr"] - 3


def test_chroma_is_stored_at_half_size() -> None:
    # a checkerboard of equal luma and opposite blue: its colour difference vanishes in 2×2 means
    board = (np.indices((64, 64)).sum(0) % 2).astype(np.float32) * 2 - 1
    frame = np.full((64, 64, 3), 128, np.float32)
    frame[:, :, 2] += 80 * board
    frame[:, :, 1] -= 80 * board * 0.114 / 0.587
    for done in (jpeg(frame, 95, channels="rgb"), diff_jpeg(frame, 95.0)):
        assert np.abs(done[:, :, 2] - 128).max() < 15


@pytest.mark.parametrize("quality", [95, 80, 40, 15])
def test_the_imitation_loses_what_the_real_codec_loses(quality: int) -> None:
    gray = np.repeat(picture()[:, :, :1], 3, axis=2)
    real, imitation = jpeg(gray, quality, channels="rgb"), diff_jpeg(gray, float(quality))
    assert error(imitation, gray) == pytest.approx(error(real, gray), rel=0.17)
    assert error(imitation, real) < 0.7 * error(real, gray) + 0.3
    # with colour, the real decoder's smooth enlargement of chroma is better than repetition
    colour = 0.75 * gray + 0.25 * picture()
    real, imitation = jpeg(colour, quality, channels="rgb"), diff_jpeg(colour, float(quality))
    assert 1 < error(imitation, colour) / error(real, colour) < 1.4


def block_coefficients(plane: np.ndarray) -> np.ndarray:
    """DCT-II of every 8×8 block, written out: [block row, block column, u, v]."""
    k, x = np.arange(8)[:, None], np.arange(8)[None, :]
    basis = np.where(k == 0, np.sqrt(1 / 8), np.sqrt(1 / 4)) * np.cos((2 * x + 1) * k * np.pi / 16)
    blocks = plane.reshape(plane.shape[0] // 8, 8, plane.shape[1] // 8, 8).transpose(0, 2, 1, 3)
    return np.einsum("ux,ijxy,vy->ijuv", basis, blocks, basis)


@pytest.mark.parametrize(("quality", "factor"), [(75.5, 0.49), (50.0, 1.0), (30.0, 5 / 3), (90.0, 0.2)])
def test_coefficients_are_multiples_of_the_scaled_table(quality: float, factor: float) -> None:
    field = cv2.GaussianBlur(np.random.default_rng(4).normal(0, 1, (48, 64)).astype(np.float32), (0, 0), 1.5)
    gray = np.repeat((128 + 30 * field / field.std())[:, :, None], 3, axis=2)
    done = diff_jpeg(gray, quality)
    assert np.abs(done - done[:, :, :1]).max() < 0.02  # gray stays gray
    found = block_coefficients(done[:, :, 0].astype(np.float64) - 128)
    given = block_coefficients(gray[:, :, 0].astype(np.float64) - 128)
    # table K.1: row 0 and column 0, which also tell rows from columns
    for index, step in {(0, 0): 16, (0, 1): 11, (0, 2): 10, (1, 0): 12, (2, 0): 14, (3, 0): 14, (0, 3): 16}.items():
        quotients = found[:, :, *index] / (step * factor)
        np.testing.assert_allclose(quotients, np.rint(quotients), atol=0.01)
        assert np.abs(found[:, :, *index] - given[:, :, *index]).max() <= step * factor / 2 + 0.05


def test_chroma_coefficients_are_multiples_of_the_chroma_table() -> None:
    quality, factor = 50.0, 1.0
    rng = np.random.default_rng(5)
    blue, red = (np.kron(cv2.GaussianBlur(rng.normal(0, 120, (32, 48)), (0, 0), 2), np.ones((2, 2))) for _ in "br")
    frame = np.stack([128 + 1.402 * red, 128 - 0.344136 * blue - 0.714136 * red, 128 + 1.772 * blue], 2)
    done = diff_jpeg(frame.astype(np.float32), quality).astype(np.float64)
    for weights, plane in [((-0.168736, -0.331264, 0.5), blue), ((0.5, -0.418688, -0.081312), red)]:
        found = block_coefficients((done @ weights)[::2, ::2])
        given = block_coefficients(plane[::2, ::2])
        assert np.abs(given[:, :, 0, 1]).max() > 18  # something is left after division by the table
        for index, step in {(0, 0): 17, (0, 1): 18, (1, 0): 18, (1, 1): 21, (0, 2): 24, (3, 1): 66}.items():
            quotients = found[:, :, *index] / (step * factor)
            np.testing.assert_allclose(quotients, np.rint(quotients), atol=0.01)
            assert np.abs(found[:, :, *index] - given[:, :, *index]).max() <= step * factor / 2 + 0.05


def test_sides_are_filled_up_and_cut_back() -> None:
    frame = picture(53, 70)
    done = diff_jpeg(frame, 80.0)
    assert done.shape == (53, 70, 3)
    filled = np.zeros((64, 80, 3), np.float32)
    filled[:53, :70] = frame
    assert np.array_equal(done, diff_jpeg(filled, 80.0)[:53, :70])
    assert diff_jpeg(frame[:1, :1], 80.0).shape == (1, 1, 3)


def test_the_imitation_keeps_the_range_and_takes_any_real_quality() -> None:
    frame = picture() * 2 - 100
    done = diff_jpeg(frame, 30.0)
    assert done.dtype == np.float32
    assert done.min() >= 0
    assert done.max() <= 255
    assert not np.array_equal(diff_jpeg(frame, 60.0), diff_jpeg(frame, 60.4))
    assert np.array_equal(diff_jpeg(frame, 60.4), diff_jpeg(frame, 60.4))


def test_wrong_options_are_refused() -> None:
    frame = picture()
    for quality in (0, 101, 60.5, True):
        with pytest.raises(ConfigError, match=r"quality; got .*an integer from 1 to 100"):
            jpeg(frame, quality)
    for real in (0.0, 100.0, float("nan")):
        with pytest.raises(ConfigError, match="above 0 and below 100"):
            diff_jpeg(frame, real)
    with pytest.raises(ConfigError, match="rounding; got 'floor'; accepted: round, truncate"):
        jpeg(frame, 60, "floor")
    with pytest.raises(ConfigError, match="channels; got 'bgr'; accepted: rgb_as_bgr, rgb"):
        jpeg(frame, 60, channels="bgr")
    with pytest.raises(DataError, match="JPEG: not a frame"):
        jpeg(frame.astype(np.float64), 60)
    with pytest.raises(DataError, match=r"JPEG: OpenCV failed; got frame of 70000×2"):
        jpeg(np.zeros((2, 70000, 3), np.uint8), 60)
