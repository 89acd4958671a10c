from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from stvsr_bench.core.errors import ClipError
from stvsr_bench.video.images import NOTE_16_BIT, NOTE_ALPHA, NOTE_GRAY, read_image


def _bgr(height: int = 21, width: int = 33, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _planes(bgr: np.ndarray) -> np.ndarray:
    return bgr[..., ::-1].transpose(2, 0, 1)


LOSSLESS = {"png": [], "bmp": [], "tif": [], "tiff": [], "webp": [cv2.IMWRITE_WEBP_QUALITY, 101]}
DEEP = ("png", "tif")
CASES = [
    (ext, depth, channels)
    for ext in LOSSLESS
    for depth in (8, 16)
    for channels in (1, 3, 4)
    # WebP stores neither gray nor 16 bit, and BMP no 16 bit.
    if (depth == 8 or ext in DEEP) and not (ext == "webp" and channels == 1)
]


@pytest.mark.parametrize(("ext", "depth", "channels"), CASES)
def test_lossless_formats_by_depth_and_channels(tmp_path: Path, ext: str, depth: int, channels: int) -> None:
    bgr = _bgr()
    expected, notes = _planes(bgr), []
    image = bgr
    if channels == 1:
        image = bgr[..., 0]
        expected = np.stack([image] * 3)
        notes.append(NOTE_GRAY)
    if channels == 4:
        image = np.dstack([bgr, np.full(bgr.shape[:2], 255, np.uint8)])
        notes.append(NOTE_ALPHA)
    if depth == 16:
        # Up to 128 away from 257·v still rounds to v.
        shift = np.random.default_rng(1).integers(-128, 129, image.shape)
        image = np.clip(image.astype(np.int64) * 257 + shift, 0, 65535).astype(np.uint16)
        if channels == 4:
            image[..., 3] = 65535
        notes.append(NOTE_16_BIT)
    path = tmp_path / f"f.{ext}"
    assert cv2.imwrite(str(path), image, LOSSLESS[ext])
    got, got_notes = read_image(path)
    assert got.dtype == np.uint8
    assert np.array_equal(got, expected)
    # The WebP encoder drops opaque alpha itself; the fourth channel of BMP may be read as padding.
    if not (ext in ("bmp", "webp") and channels == 4):
        assert sorted(got_notes) == sorted(notes)


def test_every_16_bit_value_is_rounded_as_said(tmp_path: Path) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    cv2.imwrite(str(tmp_path / "f.png"), values)
    got, _ = read_image(tmp_path / "f.png")
    assert np.array_equal(got[0], np.round(values / 257).astype(np.uint8))


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_agrees_with_its_decoder(tmp_path: Path, channels: int) -> None:
    image = cv2.GaussianBlur(_bgr(), (5, 5), 2)
    cv2.imwrite(str(tmp_path / "f.jpg"), image if channels == 3 else image[..., 0])
    got, notes = read_image(tmp_path / "f.jpg")
    assert np.array_equal(got, _planes(cv2.imread(str(tmp_path / "f.jpg"))))
    assert notes == ((NOTE_GRAY,) if channels == 1 else ())


@pytest.mark.parametrize("mode", ["P", "1", "L", "LA", "RGBA"])
def test_png_modes_made_by_another_library(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(_bgr()[..., ::-1].copy()).convert(mode)
    image.save(tmp_path / "f.png")
    got, _ = read_image(tmp_path / "f.png")
    assert np.array_equal(got, np.asarray(image.convert("RGB")).transpose(2, 0, 1))


@pytest.mark.parametrize("ext", ["png", "tif", "webp"])
def test_transparency_is_an_error(tmp_path: Path, ext: str) -> None:
    image = np.dstack([_bgr(), np.full((21, 33), 255, np.uint8)])
    image[3, 4, 3] = 254
    cv2.imwrite(str(tmp_path / f"f.{ext}"), image, LOSSLESS[ext])
    with pytest.raises(ClipError, match="transparent pixels; got alpha from 254 to 255"):
        read_image(tmp_path / f"f.{ext}")


def test_float_tiff_is_an_error(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "f.tif"), np.zeros((4, 4, 3), np.float32))
    with pytest.raises(ClipError, match="3 channels of float32"):
        read_image(tmp_path / "f.tif")


@pytest.mark.parametrize("ext", ["png", "jpg", "bmp", "tif", "webp"])
@pytest.mark.parametrize("kept", [0, 5, 20, 0.3, 0.6, 0.95, -1])
def test_truncated_files_are_an_error(tmp_path: Path, ext: str, kept: float) -> None:
    path = tmp_path / f"ä {ext}.{ext}"
    image = cv2.GaussianBlur(_bgr(64, 80), (7, 7), 3)
    data = cv2.imencode(f".{ext}", image)[1].tobytes()
    path.write_bytes(data)
    read_image(path)
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(ClipError, match="empty" if kept == 0 else "cannot decode the frame") as error:
        read_image(path)
    assert str(path) in str(error.value)


def test_a_jpeg_whose_thumbnail_is_whole_but_not_its_picture(tmp_path: Path) -> None:
    data = cv2.imencode(".jpg", cv2.GaussianBlur(_bgr(64, 80), (7, 7), 3))[1].tobytes()
    thumbnail = cv2.imencode(".jpg", _bgr(4, 4))[1].tobytes()
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    whole = data[:2] + segment + data[2:]
    (tmp_path / "f.jpg").write_bytes(whole)
    read_image(tmp_path / "f.jpg")
    (tmp_path / "f.jpg").write_bytes(whole[:-200])
    with pytest.raises(ClipError, match="truncated: no end marker"):
        read_image(tmp_path / "f.jpg")


def test_a_flipped_bit_in_a_png_is_an_error(tmp_path: Path) -> None:
    data = bytearray(cv2.imencode(".png", _bgr())[1].tobytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "f.png").write_bytes(data)
    with pytest.raises(ClipError, match="checksum of its IDAT chunk"):
        read_image(tmp_path / "f.png")


def test_text_named_png_and_absent_file(tmp_path: Path) -> None:
    (tmp_path / "f.png").write_text("<html>404</html>")
    with pytest.raises(ClipError, match="does not understand"):
        read_image(tmp_path / "f.png")
    with pytest.raises(ClipError, match="No such file"):
        read_image(tmp_path / "g.png")
