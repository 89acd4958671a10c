"""imresize beside Pillow and OpenCV: where they agree and where they do not, so that none is taken for another."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from stvsr_bench.degradation.imresize import imresize

PILLOW = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos3": Image.Resampling.LANCZOS,
}
SHRINK = [Fraction(1, 4), Fraction(1, 3), Fraction(1, 2)]
GROW = [Fraction(2), Fraction(3), Fraction(4)]


def mid_noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Noise that no kernel takes out of 0 … 255: clipping between the passes depends on their order."""
    return np.random.default_rng(seed).integers(80, 176, (height, width, 3)).astype(np.uint8)


def ours(image: np.ndarray, scale: Fraction | int, kernel: str, **options: object) -> np.ndarray:
    frames = torch.from_numpy(image).permute(2, 0, 1)[None]
    return np.asarray(imresize(frames, scale, kernel=kernel, **options)[0].permute(1, 2, 0))  # type: ignore[arg-type]


def by_pillow(image: np.ndarray, scale: Fraction | int, kernel: str) -> np.ndarray:
    height, width = (int(side * scale) for side in image.shape[:2])
    return np.array(Image.fromarray(image).resize((width, height), PILLOW[kernel]))


def by_pillow_turned(image: np.ndarray, scale: Fraction | int, kernel: str) -> np.ndarray:
    """Pillow works along the rows first; turned by a quarter it takes the two passes in MATLAB's order."""
    return by_pillow(image.transpose(1, 0, 2), scale, kernel).transpose(1, 0, 2)


def by_opencv(image: np.ndarray, scale: Fraction | int, interpolation: int) -> np.ndarray:
    height, width = (int(side * scale) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation))


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(a.astype(int) - b.astype(int)))


@pytest.mark.parametrize("kernel", list(PILLOW))
@pytest.mark.parametrize("scale", [*SHRINK, *GROW], ids=str)
def test_pillow_has_the_same_kernels_and_positions(scale: Fraction | int, kernel: str) -> None:
    image = mid_noise(96, 120)
    off = difference(ours(image, scale, kernel), by_pillow_turned(image, scale, kernel))
    edge = 3 * max(int(scale), 1)  # no kernel reaches further, in pixels of the result
    assert off[edge:-edge, edge:-edge].max() <= 1


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic", "lanczos3"])
@pytest.mark.parametrize("scale", SHRINK, ids=str)
def test_pillow_has_another_border(scale: Fraction, kernel: str) -> None:
    image = mid_noise(96, 120)
    whole = ours(image, scale, kernel)
    # Pillow leaves out what lies outside, MATLAB mirrors it
    assert difference(whole, by_pillow(image, scale, kernel)).max() >= 2
    margin = 12
    mirrored = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="symmetric")
    cut = int(margin * scale)
    assert difference(whole, by_pillow_turned(mirrored, scale, kernel)[cut:-cut, cut:-cut]).max() <= 1


def test_pillow_goes_along_the_rows_first() -> None:
    image = mid_noise(96, 120) // 128 * 255  # bicubic overshoots here, and what is clipped in between depends on it
    whole, inner = ours(image, Fraction(1, 2), "bicubic"), slice(4, -4)
    plain, turned = (difference(whole, by(image, Fraction(1, 2), "bicubic")) for by in (by_pillow, by_pillow_turned))
    assert turned[inner, inner].max() <= 1 < plain[inner, inner].max()


def test_opencv_does_not_widen_its_kernel_when_it_shrinks() -> None:
    stripes = np.zeros((96, 120, 3), np.uint8)
    stripes[:, ::2] = 255  # finer than LQ can hold: only their mean, and 1/3 samples them one by one
    assert set(np.unique(by_opencv(stripes, Fraction(1, 3), cv2.INTER_CUBIC))) == {0, 255}
    assert difference(ours(stripes, Fraction(1, 3), "bicubic"), np.full((32, 40, 3), 128))[2:-2, 2:-2].max() <= 20
    image = mid_noise(96, 120)
    for kernel, interpolation in (("bilinear", cv2.INTER_LINEAR), ("bicubic", cv2.INTER_CUBIC)):
        for scale in SHRINK:
            assert (difference(ours(image, scale, kernel), by_opencv(image, scale, interpolation)) > 1).mean() > 0.8


def test_opencv_agrees_on_bilinear_without_antialiasing_and_on_area() -> None:
    image = mid_noise(96, 120)
    for scale in (*SHRINK, *GROW):
        plain = ours(image, scale, "bilinear", antialias=False)
        assert difference(plain, by_opencv(image, scale, cv2.INTER_LINEAR)).max() <= 1
    for scale in SHRINK:
        assert difference(ours(image, scale, "box"), by_opencv(image, scale, cv2.INTER_AREA)).max() <= 1


def test_opencv_has_another_cubic() -> None:
    step = np.full((1, 16, 3), 60, np.uint8)
    step[:, 8:] = 180
    step = step.repeat(16, 0)
    # how far the curve runs over the edge of a step of 120: the larger with a = -0.75 than with -0.5
    overshoot = {name: int(r.max()) - 180 for name, r in zip(("ours", "cv2"), enlarged(step), strict=True)}
    assert overshoot == {"ours": 9, "cv2": 13}
    image = mid_noise(60, 60)
    a, b = enlarged(image)
    assert (difference(a, b) > 1).mean() > 0.3


def enlarged(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return ours(image, 4, "bicubic"), by_opencv(image, 4, cv2.INTER_CUBIC)


def test_only_one_of_them_makes_matlabs_files(shared_data: Path) -> None:
    clip = shared_data / "Vid4" / "calendar"
    gt, lq = (
        np.stack([np.array(Image.open(file).convert("RGB")) for file in sorted((clip / folder).iterdir())[::6]])
        for folder in ("hr", "lr_x4_matlab")
    )
    quarter = Fraction(1, 4)
    made = {
        "imresize": [ours(image, quarter, "bicubic") for image in gt],
        "imresize, rounded once": [ours(image, quarter, "bicubic", rounding="once") for image in gt],
        "Pillow": [by_pillow(image, quarter, "bicubic") for image in gt],
        "OpenCV": [by_opencv(image, quarter, cv2.INTER_CUBIC) for image in gt],
    }
    off = {name: difference(np.stack(frames), lq) for name, frames in made.items()}
    share = {name: float((o > 0).mean()) for name, o in off.items()}
    assert share["imresize"] == 0
    assert share == pytest.approx(
        {"imresize": 0, "imresize, rounded once": 0.107, "Pillow": 0.17, "OpenCV": 0.90}, abs=0.015
    )
    assert off["imresize, rounded once"].max() <= 5
    assert 15 <= off["Pillow"].max() <= 30
    assert off["OpenCV"].max() >= 100
