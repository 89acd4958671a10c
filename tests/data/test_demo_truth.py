"""The exact motion of the demo scenes, checked against the rendered pixels and against itself."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from stvsr_bench.data.demo.render import render
from stvsr_bench.data.demo.scenes import FRAMES, SCENES, SIZE, pixel_centres
from stvsr_bench.data.demo.truth import flow, occluded

NAMES = sorted(SCENES)
PAIRS = [(0, 1), (8, 9), (15, 16), (9, 8), (16, 15), (4, 6)]
GRID = np.stack([pixel_centres().real, pixel_centres().imag], axis=-1)


def pull(frame: npt.NDArray[np.uint8], motion: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Bring ``frame`` to the time the flow starts from (cubic interpolation)."""
    at = (GRID + motion).astype(np.float32)
    return np.asarray(cv2.remap(frame.astype(np.float32), at[..., 0], at[..., 1], cv2.INTER_CUBIC))


def psnr(a: npt.NDArray[np.float32], b: npt.NDArray[np.uint8], where: npt.NDArray[np.bool_]) -> float:
    return float(10 * np.log10(255**2 / np.mean((a[where] - b[where].astype(np.float64)) ** 2)))


def single_layer(name: str, t: int) -> npt.NDArray[np.bool_]:
    """Pixels at least two away from the edge of a layer: those on the edge mix the colours of both."""
    seen = SCENES[name].layer_at(pixel_centres(), t).astype(np.uint8)
    around = np.ones((5, 5), np.uint8)
    return np.asarray(cv2.dilate(seen, around) == cv2.erode(seen, around))


def comparable(name: str, t: int, other: int) -> npt.NDArray[np.bool_]:
    """Pixels whose scene point is seen at ``other``, clear of borders and edges."""
    moved = GRID + flow(SCENES[name], t, other)
    inside = ((moved > 1) & (moved < SIZE - 2)).all(axis=-1)
    edges_there = pull((~single_layer(name, other)).astype(np.uint8), flow(SCENES[name], t, other)) > 0.01
    return np.asarray(inside & ~occluded(SCENES[name], t, other) & single_layer(name, t) & ~edges_there)


def test_flow_of_a_pan_is_known_by_hand() -> None:
    motion = flow(SCENES["chelsea"], 3, 4)
    assert motion.shape == (SIZE, SIZE, 2)
    # The camera moves by (3.375, 0.625) photograph pixels, a pixel is 1.0625 wide, and the scene moves the other way.
    assert np.allclose(motion, [-3.375 / 1.0625, -0.625 / 1.0625], atol=1e-12)
    assert np.allclose(flow(SCENES["chelsea"], 4, 3), -motion, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_every_pixel_moves_two_to_six_pixels_per_frame(name: str) -> None:
    for t in range(FRAMES - 1):
        for start, end in ((t, t + 1), (t + 1, t)):
            length = np.linalg.norm(flow(SCENES[name], start, end), axis=-1)
            assert length.min() >= 2
            assert length.max() <= 6


def test_scenes_are_of_four_kinds() -> None:
    speed = {n: np.array([np.linalg.norm(flow(s, t, t + 1), axis=-1) for t in range(16)]) for n, s in SCENES.items()}
    assert np.ptp(speed["chelsea"]) < 1e-9  # constant
    assert (speed["chelsea"] % 1 > 0.1).all()  # and sub-pixel
    assert np.ptp(speed["astronaut"][0]) > 2  # differs over the frame: zoom and rotation
    first = flow(SCENES["astronaut"], 0, 1)
    assert np.abs(np.gradient(first[..., 0], axis=0)).min() > 0.004  # dx depends on y: rotation
    assert len(np.unique(speed["coffee"].round(9))) == 2  # two layers
    assert (np.diff(speed["rocket"].mean(axis=(1, 2))) > 0.2).all()  # accelerates


@pytest.mark.parametrize("name", NAMES)
def test_flow_leads_to_the_same_colours(name: str) -> None:
    for t, other in PAIRS:
        here, there = render(SCENES[name], t), render(SCENES[name], other)
        motion, where = flow(SCENES[name], t, other), comparable(name, t, other)
        assert where.mean() > 0.8
        exact = psnr(pull(there, motion), here, where)
        assert exact > 40
        for shift in ((0.25, 0), (-0.25, 0), (0, 0.25), (0, -0.25)):
            assert exact - psnr(pull(there, motion + shift), here, where) > 2, f"{t} to {other}, off by {shift}"
        assert exact - psnr(pull(there, -motion), here, where) > 15


@pytest.mark.parametrize("name", NAMES)
def test_there_and_back_again(name: str) -> None:
    scene = SCENES[name]
    for t, other in [*PAIRS, (0, 16), (3, 4.5)]:
        forward, backward = flow(scene, t, other), flow(scene, other, t)
        moved = GRID + forward
        corner = np.floor(moved).astype(int)
        inside = ((corner >= 0) & (corner < SIZE - 1)).all(axis=-1)
        corner = np.clip(corner, 0, SIZE - 2)
        x, y = corner[..., 0], corner[..., 1]
        fx, fy = np.moveaxis(moved - corner, -1, 0)[..., None]
        # Flow is affine inside a layer, so bilinear interpolation of it is exact where all four neighbours show it.
        upper = backward[y, x] * (1 - fx) + backward[y, x + 1] * fx
        lower = backward[y + 1, x] * (1 - fx) + backward[y + 1, x + 1] * fx
        back = upper * (1 - fy) + lower * fy
        there, here = scene.layer_at(pixel_centres(), other), scene.layer_at(pixel_centres(), t)
        same = np.all([there[y + i, x + j] == here for i in (0, 1) for j in (0, 1)], axis=0)
        where = ~occluded(scene, t, other) & inside & same
        assert where.mean() > 0.35
        assert np.abs(forward + back)[where].max() < 1e-9


def test_motion_adds_up_over_the_clip() -> None:
    steps = sum(flow(SCENES["rocket"], t, t + 1) for t in range(FRAMES - 1))
    assert np.allclose(flow(SCENES["rocket"], 0, FRAMES - 1), steps, atol=1e-9)


def test_only_points_that_leave_the_view_are_occluded_without_a_foreground() -> None:
    moved = GRID + flow(SCENES["astronaut"], 2, 3)
    leaves = ((moved < -0.5) | (moved >= SIZE - 0.5)).any(axis=-1)
    assert leaves.any()
    assert (occluded(SCENES["astronaut"], 2, 3) == leaves).all()


@pytest.mark.parametrize(("t", "other"), [(0, 1), (8, 9), (9, 8), (15, 16), (4, 8)])
def test_foreground_hides_background(t: int, other: int) -> None:
    scene = SCENES["coffee"]
    here = scene.layer_at(pixel_centres(), t)
    moved = GRID + flow(scene, t, other)
    in_view = ((moved >= 0) & (moved <= SIZE - 1)).all(axis=-1)
    hidden = occluded(scene, t, other) & in_view
    assert 0.002 < hidden.mean() < 0.05
    assert (here[hidden] == 0).all()  # the foreground itself is never hidden
    x, y = np.rint(moved[hidden]).astype(int).T
    foreground = cv2.dilate(scene.layer_at(pixel_centres(), other).astype(np.uint8), np.ones((3, 3), np.uint8))
    assert (foreground[y, x] == 1).all()
    # Their colours are not to be found at the other time, those of the other pixels are.
    error = np.abs(pull(render(scene, other), flow(scene, t, other)) - render(scene, t)).mean(axis=-1)
    assert np.median(error[hidden]) > 10 * np.median(error[comparable("coffee", t, other)])
