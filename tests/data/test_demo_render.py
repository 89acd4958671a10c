"""The demo clips to the bit: photographs, arithmetic, and the committed hashes."""

from __future__ import annotations

import importlib
from fractions import Fraction
from math import floor

import numpy as np
import pytest

from stvsr_bench.core.errors import DataError
from stvsr_bench.core.hashing import clip_hash, frame_digest
from stvsr_bench.data.demo import photographs
from stvsr_bench.data.demo.dataset import manifest
from stvsr_bench.data.demo.photographs import PHOTOGRAPHS, photograph
from stvsr_bench.data.demo.render import render
from stvsr_bench.data.demo.scenes import FRAMES, SCENES, SIZE, Layer, Path, Scene, pixel_centres

rendering = importlib.import_module("stvsr_bench.data.demo.render")
NAMES = sorted(SCENES)


@pytest.mark.parametrize("name", NAMES)
def test_clips_have_the_committed_hashes(name: str) -> None:
    frames = [render(SCENES[name], t) for t in range(FRAMES)]
    assert frames[0].shape == (SIZE, SIZE, 3)
    assert clip_hash(frame_digest(f.tobytes(), SIZE, SIZE) for f in frames) == manifest()[name]


def test_manifest_lists_the_scenes() -> None:
    assert list(manifest()) == list(SCENES) == ["astronaut", "chelsea", "coffee", "rocket"]


@pytest.mark.parametrize("name", NAMES)
def test_pixels_equal_rational_arithmetic(name: str) -> None:
    """A second implementation, in fractions, of 16 random pixels of a frame (and two on the edge of the cup)."""
    t, scene = 11, SCENES[name]
    frame = render(scene, t)
    pixels = [(int(y), int(x)) for y, x in np.random.default_rng(0).integers(0, SIZE, (16, 2))]
    pixels += [(130, int(x)) for x in np.flatnonzero(np.diff(scene.layer_at(pixel_centres(), t)[130]))]
    for y, x in pixels:
        total = [Fraction(0)] * 3
        for i in range(16):
            at = (x + Fraction(2 * (i % 4) - 3, 8), y + Fraction(2 * (i // 4) - 3, 8))
            total = [a + b for a, b in zip(total, _colour(scene, at, t), strict=True)]
        assert [floor(c / 16 + Fraction(1, 2)) for c in total] == frame[y, x].tolist()


def _colour(scene: Scene, at: tuple[Fraction, Fraction], t: int) -> list[Fraction]:
    for layer in reversed(scene.layers):
        cx, cy = (sum(Fraction(p) * t**k for k, p in enumerate(c)) for c in _parts(layer.path.centre))
        zx, zy = (sum(Fraction(p) * t**k for k, p in enumerate(c)) for c in _parts(layer.path.zoom))
        dx, dy = at[0] - Fraction(SIZE - 1, 2), at[1] - Fraction(SIZE - 1, 2)
        px, py = cx + zx * dx - zy * dy, cy + zx * dy + zy * dx
        if layer.shape is not None:
            ex, ey = Fraction(layer.shape.centre.real), Fraction(layer.shape.centre.imag)
            if ((px - ex) / layer.shape.radii[0]) ** 2 + ((py - ey) / layer.shape.radii[1]) ** 2 > 1:
                continue
        x, y = floor(px), floor(py)
        fx, fy = px - x, py - y
        corners = photograph(layer.photograph)[y : y + 2, x : x + 2].tolist()
        weights = [[(1 - fy) * (1 - fx), (1 - fy) * fx], [fy * (1 - fx), fy * fx]]
        return [sum(weights[j][i] * corners[j][i][c] for j in (0, 1) for i in (0, 1)) for c in range(3)]
    raise AssertionError("no layer covers the point")


def _parts(coefficients: tuple[complex, ...]) -> tuple[list[float], list[float]]:
    return [c.real for c in coefficients], [c.imag for c in coefficients]


def test_order_of_operations_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = render(SCENES["coffee"], 7)
    monkeypatch.setattr(rendering, "_BAND", 64)
    assert (render(SCENES["coffee"], 7) == usual).all()


def test_a_view_that_leaves_the_photograph_is_an_error() -> None:
    path = Path(centre=(140 + 150j, -3 + 0j), zoom=(1 + 0j,))
    scene = Scene("walk", (Layer("chelsea", path),))
    assert render(scene, 4).shape == (SIZE, SIZE, 3)
    with pytest.raises(DataError, match="leaves the photograph 'chelsea' in frame 5 of clip 'walk'"):
        render(scene, 5)


def test_paths_that_float64_cannot_follow_exactly_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 1/8192"):
        Path(centre=(140 + 150j, 3.3 + 0j), zoom=(1 + 0j,))


@pytest.mark.parametrize("name", sorted(PHOTOGRAPHS))
def test_decoders_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = photograph(name)
    for decode in photographs._DECODERS:
        monkeypatch.setattr(photographs, "_DECODERS", (decode,))
        assert (photograph.__wrapped__(name) == expected).all()


def test_another_decoding_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def off_by_one(encoded: bytes) -> photographs.Pixels:
        pixels = photograph("rocket").copy()
        pixels[100, 100, 2] ^= 1
        return pixels

    monkeypatch.setattr(photographs, "_DECODERS", (off_by_one, photographs._with_pillow))
    assert photograph.__wrapped__("rocket").shape == (427, 640, 3)  # the other decoder stands in
    monkeypatch.setattr(photographs, "_DECODERS", (off_by_one,))
    with pytest.raises(DataError, match=r"'rocket.jpg' .*unexpected pixels.*OpenCV"):
        photograph.__wrapped__("rocket")


def test_a_missing_photograph_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PHOTOGRAPHS, "rocket", ("launch.jpg", "0"))
    with pytest.raises(DataError, match=r"'launch.jpg' of scikit-image cannot be read"):
        photograph.__wrapped__("rocket")
