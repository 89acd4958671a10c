"""imresize against MATLAB's own files, against exact rational arithmetic, and against itself."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stvsr_bench.core.errors import ConfigError, DataError
from stvsr_bench.degradation.imresize import imresize, imresize_float, output_size

HALF = Fraction(1, 2)


def cubic(x: Fraction) -> Fraction:
    a = abs(x)
    if a <= 1:
        return (Fraction(3, 2) * a - Fraction(5, 2)) * a * a + 1
    return ((-HALF * a + Fraction(5, 2)) * a - 4) * a + 2 if a <= 2 else Fraction(0)


def triangle(x: Fraction) -> Fraction:
    return max(1 - abs(x), Fraction(0))


def box(x: Fraction) -> Fraction:
    return Fraction(int(-HALF <= x < HALF))


EXACT = {"bicubic": (cubic, 4), "bilinear": (triangle, 2), "box": (box, 1), "nearest": (box, 1)}


def line(values: list[Fraction], scale: Fraction, length: int, kernel: str, antialias: bool) -> list[Fraction]:
    """One row after MATLAB's documented recipe, 1-based and in exact arithmetic."""
    function, width = EXACT[kernel]
    shrink = scale if antialias and kernel != "nearest" and scale < 1 else Fraction(1)
    out = []
    for x in range(1, length + 1):
        u = x / scale + HALF * (1 - 1 / scale)
        left = math.floor(u - Fraction(width) / shrink / 2)
        taps = range(left, left + math.ceil(Fraction(width) / shrink) + 2)
        weights = [function(shrink * (u - k)) for k in taps]
        n = len(values)
        mirror = [*range(n), *range(n - 1, -1, -1)]
        total = sum(w * values[mirror[(k - 1) % (2 * n)]] for w, k in zip(weights, taps, strict=True))
        out.append(total / sum(weights))
    return out


def rounded(x: Fraction) -> Fraction:
    return Fraction(min(max(math.floor(x + HALF), 0), 255))


def reference(image: np.ndarray, scale: Fraction, kernel: str, antialias: bool, rounding: str) -> np.ndarray:
    grid = [[Fraction(int(v)) for v in row] for row in image]
    rows, columns = output_size(image.shape, scale)
    keep = rounded if rounding == "matlab_uint8" else (lambda x: x)
    step = [line([r[c] for r in grid], scale, rows, kernel, antialias) for c in range(len(grid[0]))]
    grid = [[keep(column[y]) for column in step] for y in range(rows)]
    return np.array([[int(rounded(v)) for v in line(r, scale, columns, kernel, antialias)] for r in grid], np.uint8)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def frames_of(folder: Path) -> torch.Tensor:
    images = [np.array(Image.open(p).convert("RGB")) for p in sorted(folder.iterdir())]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def test_reproduces_every_sample_of_matlabs_files(shared_data: Path) -> None:
    clip = shared_data / "Vid4" / "calendar"
    expected = frames_of(clip / "lr_x4_matlab")
    assert expected.shape == (31, 3, 144, 180)
    got = imresize(frames_of(clip / "hr"), Fraction(1, 4))
    assert int((got != expected).sum()) == 0


@pytest.mark.parametrize("rounding", ["matlab_uint8", "once"])
@pytest.mark.parametrize("kernel", list(EXACT))
@pytest.mark.parametrize(
    "scale", [Fraction(1, 4), Fraction(1, 3), Fraction(5, 7), Fraction(3, 2), Fraction(4)], ids=str
)
def test_equals_exact_arithmetic(scale: Fraction, kernel: str, rounding: str) -> None:
    image = noise(13, 11, seed=3)
    image[:, 5:] = image[:, 5:] // 128 * 255  # black and white, so that many sums lie exactly on a tie
    got = imresize(image[None, None], scale, kernel=kernel, rounding=rounding)[0, 0].numpy()
    np.testing.assert_array_equal(got, reference(image.numpy(), scale, kernel, True, rounding))


def test_equals_exact_arithmetic_without_antialiasing_and_beyond_one_mirror() -> None:
    image = noise(3, 9, seed=4)
    for scale, antialias in ((Fraction(1, 2), False), (Fraction(1, 4), True)):  # 16 taps on 3 rows
        got = imresize(image[None, None], scale, antialias=antialias)[0, 0].numpy()
        np.testing.assert_array_equal(got, reference(image.numpy(), scale, "bicubic", antialias, "matlab_uint8"))


@pytest.mark.parametrize("scale", [Fraction(1, 4), Fraction(1, 3), 4, 3], ids=str)
def test_lanczos3_follows_matlabs_formula(scale: Fraction) -> None:
    eps = np.finfo(float).eps
    values = noise(40, seed=5).double()
    s = float(scale)
    shrink = min(s, 1.0)
    out = []
    for x in range(1, math.ceil(40 * scale) + 1):
        u = x / s + 0.5 * (1 - 1 / s)
        k = np.arange(math.floor(u - 3 / shrink), math.floor(u - 3 / shrink) + math.ceil(6 / shrink) + 2)
        d = shrink * (u - k)
        w = (np.sin(np.pi * d) * np.sin(np.pi * d / 3) + eps) / (np.pi**2 * d**2 / 3 + eps) * (abs(d) < 3)
        index = (k - 1) % 80
        out.append((w / w.sum()) @ values.numpy()[np.where(index < 40, index, 79 - index)])
    got = imresize_float(values.view(1, 1, 40, 1), scale, kernel="lanczos3")[0, 0, :, 0]
    np.testing.assert_allclose(got.numpy(), out, atol=1e-9)


@pytest.mark.parametrize("kernel", ["bicubic", "lanczos3"])
@pytest.mark.parametrize("scale", [Fraction(1, 4), Fraction(1, 3), 2], ids=str)
def test_batch_size_threads_and_precision_settings_change_nothing(scale: Fraction, kernel: str) -> None:
    frames = noise(5, 3, 60, 84)
    whole = imresize(frames, scale, kernel=kernel)
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    try:
        torch.set_num_threads(2)
        torch.set_float32_matmul_precision("medium")
        single = torch.cat([imresize(f[None], scale, kernel=kernel) for f in frames])
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
    assert torch.equal(whole, single)
    assert torch.equal(
        whole, imresize(frames.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2), scale, kernel=kernel)
    )


def hard_frames(height: int, width: int) -> torch.Tensor:
    """Noise, black and white, neighbouring levels and stripes: what gives many sums on or just beside a tie."""
    stripes = (torch.arange(width) // 3 % 2 * 255).to(torch.uint8).expand(3, height, width)
    fine = noise(3, height, width, seed=8)
    return torch.stack([fine, fine // 128 * 255, 100 + fine // 64, stripes])


@pytest.mark.parametrize("kernel", ["box", "bilinear", "bicubic", "lanczos3"])
@pytest.mark.parametrize(
    "scale", [Fraction(n, d) for n, d in ((1, 3), (1, 5), (2, 3), (3, 4), (5, 7), (4, 3), (3, 1), (5, 1))], ids=str
)
def test_float32_gives_what_float64_gives(scale: Fraction, kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = hard_frames(55, 71)
    fast = imresize(frames, scale, kernel=kernel)
    monkeypatch.setattr(f"{imresize.__module__}._float32_is_safe", lambda device: False)
    assert torch.equal(fast, imresize(frames, scale, kernel=kernel))


@pytest.mark.parametrize(
    ("scale", "kernel", "expected"),
    [
        (3, "bicubic", torch.float32),
        (3, "bilinear", torch.float32),
        (Fraction(1, 3), "bicubic", torch.float32),
        (Fraction(1, 3), "bilinear", torch.float32),
        (Fraction(1, 16), "bicubic", torch.float64),
        (Fraction(5, 7), "bicubic", torch.float64),
        (2, "lanczos3", torch.float64),
    ],
    ids=str,
)
def test_float32_is_used_where_sums_lie_far_apart(
    scale: Fraction, kernel: str, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.dtype] = []
    product = torch.mm

    def recording(a: torch.Tensor, b: torch.Tensor, **options: torch.Tensor) -> torch.Tensor:
        seen.append(a.dtype)
        return product(a, b, **options)

    monkeypatch.setattr(torch, "mm", recording)
    imresize(noise(1, 3, 48, 48), scale, kernel=kernel)
    assert set(seen) == {expected}


def test_float32_is_used_only_where_it_is_exact() -> None:
    # the weights of 1/16 need 20 binary digits: float32 sums would fall on the wrong side of some ties
    frames = noise(8, 3, 512, 512)
    by_rows = imresize_float(frames.double(), output_size=(32, 512)).add(0.5).floor().clamp(0, 255)
    both = imresize_float(by_rows, output_size=(32, 32)).add(0.5).floor().clamp(0, 255)
    assert torch.equal(imresize(frames, Fraction(1, 16)), both.to(torch.uint8))


def test_float32_is_not_used_where_torch_may_shorten_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.dtype] = []
    product = torch.mm

    def recording(a: torch.Tensor, b: torch.Tensor, **options: torch.Tensor) -> torch.Tensor:
        seen.append(a.dtype)
        return product(a, b, **options)

    monkeypatch.setattr(torch, "mm", recording)
    precision = torch.get_float32_matmul_precision()
    try:
        for setting, expected in (("highest", torch.float32), ("medium", torch.float64)):
            seen.clear()
            torch.set_float32_matmul_precision(setting)
            imresize(noise(1, 3, 16, 16), 2)
            assert set(seen) == {expected}
    finally:
        torch.set_float32_matmul_precision(precision)


@pytest.mark.parametrize("kernel", ["nearest", "box", "bilinear", "bicubic", "lanczos2", "lanczos3"])
def test_constant_frames_stay_constant(kernel: str) -> None:
    for level in (0, 1, 127, 254, 255):
        frames = torch.full((1, 3, 17, 23), level, dtype=torch.uint8)
        for scale in (Fraction(1, 4), Fraction(2, 3), 3):
            assert (imresize(frames, scale, kernel=kernel) == level).all()


def test_mirrored_input_gives_mirrored_output() -> None:
    frames = noise(1, 3, 24, 36)
    for scale in (Fraction(1, 4), Fraction(1, 3), 4):
        assert torch.equal(imresize(frames.flip(2, 3), scale).flip(2, 3), imresize(frames, scale))


def test_the_rounding_between_the_passes_matters() -> None:
    frames = noise(1, 3, 64, 64)
    twice, once = imresize(frames, Fraction(1, 4)), imresize(frames, Fraction(1, 4), rounding="once")
    exact = imresize_float(frames.double(), Fraction(1, 4))
    assert torch.equal(once, exact.add(0.5).floor().clamp(0, 255).to(torch.uint8))
    assert 0 < int((twice != once).sum()) < twice.numel() // 4


def test_rows_go_first_on_a_tie_and_the_smaller_scale_otherwise() -> None:
    frames = noise(1, 1, 32, 32)
    by_columns_first = imresize(frames.transpose(2, 3), Fraction(1, 4)).transpose(2, 3)
    assert not torch.equal(imresize(frames, Fraction(1, 4)), by_columns_first)
    wide = imresize(frames, output_size=(16, 8))
    assert torch.equal(wide, imresize(imresize(frames, output_size=(32, 8)), output_size=(16, 8)))


def test_sizes() -> None:
    assert imresize(noise(1, 3, 131, 173), HALF).shape == (1, 3, 66, 87)
    assert imresize(noise(2, 3, 7, 9), output_size=(5, 20)).shape == (2, 3, 5, 20)
    assert imresize(noise(2, 1, 1, 1), 4).shape == (2, 1, 4, 4)
    assert output_size((720, 1), 0.1) == (72, 1)  # the double 0.1 is a little more than 1/10
    assert output_size((720, 9), 1 / 3) == (240, 3)
    frames = noise(1, 3, 8, 8)
    assert torch.equal(imresize(frames, 1), frames)
    assert imresize(frames[:0], HALF).shape == (0, 3, 4, 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_float_frames_keep_type_and_overshoot(dtype: torch.dtype) -> None:
    step = torch.zeros(1, 1, 4, 8, dtype=dtype)
    step[..., 4:] = 1
    out = imresize_float(step, 4)
    assert out.dtype == dtype
    assert float(out.min()) < -0.01
    assert float(out.max()) > 1.01


def test_refusals() -> None:
    frames = noise(1, 3, 8, 8)
    with pytest.raises(ConfigError, match=r"unknown kernel 'bicubc'.*did you mean 'bicubic'"):
        imresize(frames, 2, kernel="bicubc")
    with pytest.raises(ConfigError, match="either scale or output_size"):
        imresize(frames)
    with pytest.raises(ConfigError, match="either scale or output_size"):
        imresize(frames, 2, output_size=(4, 4))
    for scale in (0, -1, math.inf, math.nan):
        with pytest.raises(ConfigError, match="positive"):
            imresize(frames, scale)
    with pytest.raises(ConfigError, match="positive"):
        imresize(frames, output_size=(0, 4))
    with pytest.raises(ConfigError, match="unknown rounding"):
        imresize(frames, 2, rounding="twice")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="float32"):
        imresize(frames.float(), 2)
    with pytest.raises(DataError, match="uint8"):
        imresize_float(frames, 2)
    with pytest.raises(DataError, match="empty"):
        imresize(frames[..., :0], 2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_samples() -> None:
    frames = noise(2, 3, 60, 84)
    for scale in (Fraction(1, 4), Fraction(1, 3), 3):
        assert torch.equal(imresize(frames.cuda(), scale).cpu(), imresize(frames, scale))
