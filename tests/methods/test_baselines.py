"""What each baseline computes, by hand and against independent implementations."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch

from stvsr_bench.data.demo.render import render
from stvsr_bench.data.demo.scenes import SCENES
from stvsr_bench.degradation.imresize import imresize
from stvsr_bench.methods.base import Report, Request
from stvsr_bench.methods.factory import build_method
from stvsr_bench.video.clip import ArrayClip, Frames
from stvsr_bench.video.reading import open_clip


def _restore(name: str, frames: Frames, scale: int, time_scale: int, **options: object) -> Frames:
    method = build_method(name, options)
    method.setup()
    return torch.cat(list(method.restore(ArrayClip(frames), Request(scale, time_scale))))


def _values(*values: int) -> Frames:
    """One-pixel frames of these values."""
    return torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 1, 1).contiguous()


@pytest.mark.parametrize(
    ("factor", "expected"),
    [(1, [1, 2, 3]), (2, [1, 1, 2, 2, 3]), (3, [1, 1, 2, 2, 2, 3, 3]), (4, [1, 1, 1, 2, 2, 2, 2, 3, 3])],
)
def test_repeat_takes_the_nearest_and_in_doubt_the_earlier(factor: int, expected: list[int]) -> None:
    assert _restore("repeat", _values(1, 2, 3), 1, factor)[:, 0, 0, 0].tolist() == expected


def test_blend_is_exact_with_halves_up() -> None:
    assert _restore("blend", _values(0, 1, 255), 1, 2)[:, 0, 0, 0].tolist() == [0, 1, 1, 128, 255]
    for factor in range(1, 9):
        for a, b in ((0, 255), (255, 0), (10, 13), (77, 77)):
            exact = [(Fraction(a) + Fraction(b - a) * k / factor) for k in range(factor + 1)]
            expected = [int(v + Fraction(1, 2)) for v in exact]
            assert _restore("blend", _values(a, b), 1, factor)[:, 0, 0, 0].tolist() == expected


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_nearest_repeats_pixels(scale: int) -> None:
    frames = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8)
    expected = frames.repeat_interleave(scale, -1).repeat_interleave(scale, -2)
    assert torch.equal(_restore("nearest", frames, scale, 1), expected)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bilinear_agrees_with_opencv(scale: int) -> None:
    """Both sample at the same places; OpenCV rounds once, imresize after each pass."""
    frames = torch.randint(0, 256, (1, 3, 12, 14), dtype=torch.uint8)
    image = frames[0].permute(1, 2, 0).numpy()
    other = cv2.resize(image.astype(np.float32), None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    ours = _restore("bilinear", frames, scale, 1)[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - other).max() <= 1.0


@pytest.mark.parametrize(("name", "kernel"), [("bicubic", "bicubic"), ("lanczos", "lanczos3")])
def test_bicubic_and_lanczos_are_imresize(name: str, kernel: str) -> None:
    frames = torch.randint(0, 256, (2, 3, 11, 9), dtype=torch.uint8)
    assert torch.equal(_restore(name, frames, 3, 1), imresize(frames, 3, kernel=kernel))


@pytest.mark.parametrize("preset", [None, "medium", "fast", "ultrafast"])
def test_flow_presets_run_and_name_themselves(preset: str | None) -> None:
    method = build_method("dis_flow", {"preset": preset})
    assert method.method_id == ("dis_flow" if preset in (None, "medium") else f"dis_flow[preset={preset}]")
    frames = torch.from_numpy(np.stack([render(SCENES["chelsea"], t) for t in (0, 2)])).permute(0, 3, 1, 2)
    method.setup()
    assert len(torch.cat(list(method.restore(ArrayClip(frames.contiguous()), Request(1, 3))))) == 4


def test_flow_of_a_still_clip_changes_nothing() -> None:
    still = torch.randint(0, 256, (1, 3, 40, 50), dtype=torch.uint8).expand(3, -1, -1, -1).contiguous()
    assert torch.equal(_restore("dis_flow", still, 1, 4), still[:1].expand(9, -1, -1, -1))


def test_flow_that_runs_out_of_memory_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV's own out-of-memory becomes a smaller window."""
    method = build_method("dis_flow")
    method.setup()
    create = cv2.DISOpticalFlow.create
    failures = iter([True])

    class Failing:
        @staticmethod
        def create(preset: int) -> object:
            if next(failures, False):
                error = cv2.error("Failed to allocate 1234 bytes")
                error.code = cv2.Error.StsNoMem
                raise error
            return create(preset)

    monkeypatch.setattr(cv2, "DISOpticalFlow", Failing)
    report = Report()
    frames = torch.randint(0, 256, (5, 3, 40, 50), dtype=torch.uint8)
    out = torch.cat(list(method.restore(ArrayClip(frames), Request(1, 2), report)))
    assert len(out) == 9
    assert len(report.plan["retries"]) == 1


def _psnr_of_interpolated(name: str, truth: Frames, factor: int, scale: int) -> float:
    frames = truth if scale == 1 else imresize(imresize(truth, Fraction(1, scale)), scale)
    out = _restore(name, frames[::factor].contiguous(), 1, factor)
    index = [i for i in range(len(out)) if i % factor]
    error = (out[index].float() - truth[index].float()).square().mean(dim=(1, 2, 3))
    return float((10 * torch.log10(255**2 / error)).mean())


@pytest.mark.parametrize("scale", [1, 4])
@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("scene", list(SCENES))
def test_flow_beats_blending_on_demo_clips(scene: str, factor: int, scale: int) -> None:
    """Sub-pixel pan, zoom with rotation, parallax with occlusion, acceleration: as given and after bicubic x4.

    Measured gains: 10 to 22 dB as given, 1.6 to 8 dB after x4.
    """
    truth = torch.from_numpy(np.stack([render(SCENES[scene], t) for t in range(5)])).permute(0, 3, 1, 2).contiguous()
    ours, blend = (_psnr_of_interpolated(name, truth, factor, scale) for name in ("dis_flow", "blend"))
    assert ours > blend + (8.0 if scale == 1 else 1.3)


@pytest.mark.parametrize(("clip", "gain"), [("calendar", 1.0), ("city", 3.0), ("foliage", 0.5), ("walk", 4.0)])
def test_flow_beats_blending_on_real_clips(shared_data, clip: str, gain: float) -> None:
    truth = open_clip(shared_data / "Vid4" / clip / "hr")[0:5]
    ours, blend = (_psnr_of_interpolated(name, truth, 2, 1) for name in ("dis_flow", "blend"))
    assert ours > blend + gain
