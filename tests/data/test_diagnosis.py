"""Planted faults of every kind are found at several strengths; clean pairs raise no alarm."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from stvsr_bench.data.demo.render import render
from stvsr_bench.data.demo.scenes import SCENES
from stvsr_bench.data.diagnosis.colour import MATRICES, ORDERS, RANGES, ColourFault, apply_fault
from stvsr_bench.data.diagnosis.diagnose import diagnose
from stvsr_bench.data.diagnosis.findings import Diagnosis, Finding
from stvsr_bench.data.diagnosis.registration import find_shift, translate
from stvsr_bench.data.diagnosis.stretch import windows
from stvsr_bench.data.diagnosis.timing import moving
from stvsr_bench.degradation.imresize import imresize
from stvsr_bench.video.clip import ArrayClip, Clip, Frames
from stvsr_bench.video.reading import open_clip
from stvsr_bench.video.writing import open_writer

VID4 = ("calendar", "city", "foliage", "walk")
DEMO = ("chelsea", "rocket")
CLIPS = (*VID4, *DEMO)
LENGTH = 17


@functools.cache
def demo(name: str) -> Frames:
    """The ground truth of a demo clip."""
    return torch.from_numpy(np.stack([render(SCENES[name], t) for t in range(LENGTH)])).permute(0, 3, 1, 2).contiguous()


@functools.cache
def vid4(folder: Path, name: str) -> Frames:
    """A part of a Vid4 clip: 256 × 352 pixels of the first frames."""
    return open_clip(folder / "Vid4" / name / "hr")[:LENGTH][:, :, 96:352, 160:512].contiguous()


@functools.cache
def bicubic(frames: Frames) -> Frames:
    """Reduced by 4 and enlarged again; sharp as none and aligned to the hundredth of a pixel."""
    size = int(frames.shape[2]), int(frames.shape[3])
    return imresize(imresize(frames, output_size=(size[0] // 4, size[1] // 4)), output_size=size)


def sharpened(frames: Frames) -> Frames:
    """Unsharp-masked, as restored frames of a learned method look."""
    made = [cv2.GaussianBlur(f.permute(1, 2, 0).numpy().astype(np.float32), (0, 0), 1.5) for f in frames]
    low = torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2)
    return (2 * frames.float() - low).clamp(0, 255).round().to(torch.uint8)


def blended(frames: Frames, factor: int) -> Frames:
    """Every ``factor``-th frame and cross-fades between them."""
    keys = frames[::factor].float()
    steps = torch.arange(factor) / factor
    between = torch.cat([(1 - s) * a + s * b for a, b in itertools.pairwise(keys.unsqueeze(1)) for s in steps])
    return torch.cat([between, keys[-1:]]).round().to(torch.uint8)


def repeated(frames: Frames, factor: int) -> Frames:
    """Every ``factor``-th frame, shown until the next is nearer."""
    keys = frames[::factor]
    time = torch.arange((len(keys) - 1) * factor + 1)
    return keys[(2 * time + factor - 1) // (2 * factor)]


def shifted(frames: Frames, x: float, y: float) -> Frames:
    """Moved right by ``x`` and down by ``y`` pixels, by the Fourier transform of the mirrored frame."""
    padded = np.pad(frames.numpy().astype(np.float64), ((0, 0), (0, 0), (32, 32), (32, 32)), mode="symmetric")
    rows, columns = (np.fft.fftfreq(side) for side in padded.shape[2:])
    phase = np.exp(-2j * np.pi * (rows[:, None] * y + columns[None] * x))
    moved = np.fft.ifft2(np.fft.fft2(padded) * phase).real[:, :, 32:-32, 32:-32]
    return torch.from_numpy(np.clip(moved, 0, 255).round().astype(np.uint8))


def encoded(frames: Frames, suffix: str, quality: int) -> Frames:
    """Through an image codec, frame by frame."""
    flag = {".jpg": cv2.IMWRITE_JPEG_QUALITY, ".webp": cv2.IMWRITE_WEBP_QUALITY}[suffix]
    made = []
    for frame in frames:
        done, data = cv2.imencode(suffix, frame.permute(1, 2, 0).numpy()[..., ::-1], [flag, quality])
        assert done
        made.append(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])
    return torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2).contiguous()


def filmed(frames: Frames, folder: Path) -> Frames:
    """Through H.264 video of the quality that is made for looking at (CRF 17)."""
    path = folder / "clip.mp4"
    with open_writer(path, "mp4", frames.shape[2], frames.shape[3]) as writer:
        writer.write(frames)
    return open_clip(path)[:]


def compare(output: Frames, truth: Frames) -> Diagnosis:
    """Diagnose two clips in memory."""
    return diagnose(ArrayClip(output), ArrayClip(truth))


def only(diagnosis: Diagnosis, kind: str) -> Finding:
    """Return the finding of ``kind``, which must be the only one."""
    assert [finding.kind for finding in diagnosis.findings] == [kind], diagnosis
    return diagnosis.findings[0]


@pytest.fixture(params=CLIPS)
def truth(request: pytest.FixtureRequest) -> Frames:
    """Ground truth of one clip."""
    if request.param in DEMO:
        return demo(request.param)
    return vid4(request.getfixturevalue("shared_data"), request.param)


# ---------------------------------------------------------------- clean pairs


def test_the_same_frames_raise_no_alarm(truth: Frames) -> None:
    found = compare(truth, truth)
    assert found.findings == ()
    assert (found.measured["shift_x"], found.measured["lag"]) == (pytest.approx(0, abs=0.01), 0)


@pytest.mark.parametrize("make", [bicubic, lambda f: sharpened(bicubic(f)), sharpened])
def test_restored_frames_raise_no_alarm(truth: Frames, make: Callable[[Frames], Frames]) -> None:
    found = compare(make(truth), truth)
    assert found.findings == ()
    assert abs(found.measured["shift_x"]) < 0.08
    assert abs(found.measured["shift_y"]) < 0.08


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("make", [bicubic, lambda frames: frames])
def test_blends_between_restored_frames_raise_no_alarm(
    truth: Frames, factor: int, make: Callable[[Frames], Frames]
) -> None:
    assert compare(blended(make(truth), factor), truth).findings == ()


@pytest.mark.slow
@pytest.mark.parametrize("name", VID4)
def test_whole_vid4_clips_raise_no_alarm(shared_data: Path, name: str) -> None:
    frames = open_clip(shared_data / "Vid4" / name / "hr")[:]
    for output in (frames, bicubic(frames), blended(bicubic(frames), 2), sharpened(bicubic(frames))):
        assert compare(output, frames).findings == ()


@pytest.mark.parametrize("name", SCENES)
def test_demo_clips_raise_no_alarm(name: str) -> None:
    frames = demo(name)
    for output in (frames, bicubic(frames), *(blended(bicubic(frames), factor) for factor in (2, 4))):
        assert compare(output, frames).findings == ()


def test_noise_on_still_frames_is_neither_motion_nor_repetition() -> None:
    still = demo("chelsea")[:1].repeat(12, 1, 1, 1)
    generator = torch.Generator().manual_seed(0)
    noisy = (still + 6 * torch.randn(still.shape, generator=generator)).clamp(0, 255).round().to(torch.uint8)
    found = compare(still, noisy)
    assert found.findings == ()
    assert any("hardly moves" in note for note in found.notes)


# ---------------------------------------------------------------- shifts


@pytest.mark.parametrize("move", [(0.25, 0.0), (0.5, 0.5), (-1.5, 1.5), (3.0, -2.0), (0, 8)])
def test_a_shift_is_found_and_measured(truth: Frames, move: tuple[float, float]) -> None:
    finding = only(compare(shifted(bicubic(truth), *move), truth), "spatial_shift")
    assert (finding.values["x"], finding.values["y"]) == pytest.approx(move, abs=0.1, rel=0.02)


@pytest.mark.parametrize("factor", [2, 4])
def test_a_shift_is_found_in_blends(truth: Frames, factor: int) -> None:
    finding = only(compare(blended(shifted(bicubic(truth), 1.5, 1.5), factor), truth), "spatial_shift")
    assert finding.values["x"] == pytest.approx(1.5, abs=0.2)


def test_the_phase_of_blur_and_subsampling_is_found(truth: Frames) -> None:
    """LQ of samples 0, 4, 8 …, enlarged as if a pixel were the middle of its square, lies 1.5 pixels off."""
    blurred = [cv2.GaussianBlur(f.permute(1, 2, 0).numpy(), (13, 13), 1.6) for f in truth]
    lq = torch.from_numpy(np.stack(blurred)).permute(0, 3, 1, 2)[:, :, ::4, ::4].contiguous()
    output = imresize(lq, output_size=(int(truth.shape[2]), int(truth.shape[3])))
    finding = only(compare(output, truth), "spatial_shift")
    assert (finding.values["x"], finding.values["y"]) == pytest.approx((1.5, 1.5), abs=0.1)
    assert "1.5" in finding.text


def test_translation_is_exact_on_band_limited_pictures() -> None:
    x, y = np.meshgrid(np.arange(96.0), np.arange(80.0))

    def wave(dx: float, dy: float) -> np.ndarray:
        return np.sin(0.4 * (x - dx) + 0.3 * (y - dy)) + np.cos(0.5 * (y - dy))

    moved = translate(wave(0, 0).astype(np.float32), 1.3, -2.6)
    assert moved[16:-16, 16:-16] == pytest.approx(wave(1.3, -2.6)[16:-16, 16:-16], abs=5e-3)


def test_finding_a_shift_leaves_its_arguments_alone() -> None:
    frames = [np.random.default_rng(seed).normal(size=(64, 96)).astype(np.float32) for seed in range(2)]
    copies = [frame.copy() for frame in frames]
    assert find_shift(frames, frames).size < 1e-6
    assert all(np.array_equal(a, b) for a, b in zip(frames, copies, strict=True))


# ---------------------------------------------------------------- time


@pytest.mark.parametrize(("lag", "factor"), [(1, 1), (-1, 1), (3, 1), (-3, 1), (1, 4), (-1, 4)])
def test_a_lag_is_found_and_measured(truth: Frames, lag: int, factor: int) -> None:
    output = bicubic(truth) if factor == 1 else blended(bicubic(truth), factor)
    made, wanted = (output[lag:], truth[:-lag]) if lag > 0 else (output[:lag], truth[-lag:])
    assert only(compare(made, wanted), "time_offset").values["frames"] == lag


def test_half_a_frame_is_found(truth: Frames) -> None:
    output = bicubic(truth).float()
    middle = ((output[1:] + output[:-1]) / 2).round().to(torch.uint8)
    assert only(compare(middle, truth[:-1]), "time_offset").values["frames"] == 0.5


@pytest.mark.parametrize(("factor", "make"), [(2, bicubic), (4, lambda frames: frames), (8, bicubic)])
def test_repeats_are_found(truth: Frames, factor: int, make: Callable[[Frames], Frames]) -> None:
    frames = only(compare(repeated(make(truth), factor), truth), "repeated_frames").values["frames"]
    shown = [(2 * i + factor - 1) // (2 * factor) for i in range(LENGTH)]
    assert frames == [i for i in range(1, LENGTH) if shown[i] == shown[i - 1]]


@pytest.mark.parametrize(("at", "noise"), [(1, 1.5), (8, 0.0), (16, 1.5)])
def test_one_repeated_frame_is_found(truth: Frames, at: int, noise: float) -> None:
    output = bicubic(truth).clone()
    grain = noise * torch.randn(output[at].shape, generator=torch.Generator().manual_seed(at))
    output[at] = (output[at - 1] + grain).clamp(0, 255).round().to(torch.uint8)
    assert only(compare(output, truth), "repeated_frames").values["frames"] == [at]


@pytest.mark.parametrize(("at", "missing"), [(6, 1), (9, 1), (8, 3)])
def test_missing_frames_are_found(truth: Frames, at: int, missing: int) -> None:
    whole = bicubic(truth)
    found = compare(torch.cat([whole[:at], whole[at + missing :]]), truth)
    assert found.kinds == {"frame_count", "dropped_frames"}
    values = found.findings[-1].values
    assert values["frames"] == missing
    assert abs(values["frame"] - at) <= 1


@pytest.mark.parametrize("missing", [1, 3])
def test_missing_frames_in_a_count_filled_up_at_the_end(truth: Frames, missing: int) -> None:
    whole = bicubic(truth)
    found = compare(torch.cat([whole[:7], whole[7 + missing :], *[whole[-1:]] * missing]), truth)
    assert found.kinds == {"dropped_frames", "repeated_frames"}


def test_a_frame_too_many_is_found(truth: Frames) -> None:
    whole = bicubic(truth)
    found = compare(torch.cat([whole[:8], whole[7:-1]]), truth)
    assert found.kinds == {"extra_frames", "repeated_frames"}
    assert [f.values["frames"] for f in found.findings if f.kind == "extra_frames"] == [1]


def test_motion_is_told_from_noise() -> None:
    generator = np.random.default_rng(0)
    still = [generator.normal(0, 2, (60, 80)).astype(np.float32) for _ in range(9)]
    assert not moving(still).any()
    picture = cv2.GaussianBlur(generator.normal(0, 60, (60, 120)).astype(np.float32), (0, 0), 3)
    panned = [picture[:, t : t + 80] + still[t] * 0.1 for t in range(9)]
    assert moving(panned)[1:].all()


# ---------------------------------------------------------------- colour

FAULTS = [ColourFault(*names) for names in itertools.product(RANGES, MATRICES, ORDERS) if any(names)]


def recoloured(frames: Frames, fault: ColourFault) -> Frames:
    """Frames with a colour fault, clipped and rounded."""
    levels = apply_fault(frames.permute(0, 2, 3, 1).numpy(), fault).round().astype(np.uint8)
    return torch.from_numpy(levels).permute(0, 3, 1, 2).contiguous()


@pytest.mark.parametrize("fault", [f for f in FAULTS if len(f.names) == 1], ids=lambda f: f.names[0])
@pytest.mark.parametrize("factor", [1, 4])
def test_single_colour_faults_are_found(truth: Frames, fault: ColourFault, factor: int) -> None:
    output = bicubic(truth) if factor == 1 else blended(sharpened(bicubic(truth)), factor)
    assert only(compare(recoloured(output, fault), truth), "colour").values["names"] == fault.names


@pytest.mark.parametrize("fault", [f for f in FAULTS if len(f.names) > 1], ids=lambda f: "+".join(f.names))
def test_combined_colour_faults_are_found(fault: ColourFault) -> None:
    frames = demo("chelsea")
    assert only(compare(recoloured(bicubic(frames), fault), frames), "colour").values["names"] == fault.names


@pytest.mark.parametrize(("gain", "offset"), [(0.95, 6.0), (1.05, -4.0), (1.0, 8.0), (0.915, 9.6), (0.93, 0.0)])
def test_drift_of_colours_is_not_taken_for_a_fault(truth: Frames, gain: float, offset: float) -> None:
    output = (bicubic(truth).float() * gain + offset).clamp(0, 255).round().to(torch.uint8)
    assert compare(output, truth).findings == ()


# ---------------------------------------------------------------- lossy coding


@pytest.mark.parametrize(
    ("suffix", "quality"), [(".jpg", 30), (".jpg", 75), (".jpg", 95), (".webp", 50), (".webp", 95)]
)
def test_lossy_images_are_found(truth: Frames, suffix: str, quality: int) -> None:
    for frames in (bicubic(truth), truth):
        finding = only(compare(encoded(frames, suffix, quality), truth), "lossy_source")
        expected = {".jpg": "BT.601 full range (JPEG)", ".webp": "BT.601 limited range"}[suffix]
        assert finding.values["luma"] == expected


def test_lossy_video_is_found(truth: Frames, tmp_path: Path) -> None:
    for frames in (bicubic(truth), sharpened(bicubic(truth)), truth):
        assert only(compare(filmed(frames, tmp_path), truth), "lossy_source").values["chroma"]


def test_marks_of_a_ground_truth_from_video_are_not_the_outputs(tmp_path: Path) -> None:
    frames = filmed(demo("chelsea"), tmp_path)
    assert compare(bicubic(frames), frames).findings == ()
    assert compare(blended(frames, 2), frames).findings == ()
    assert only(compare(repeated(frames, 2), frames), "repeated_frames")
    assert only(compare(filmed(bicubic(frames), tmp_path), frames), "lossy_source")
    again = compare(filmed(frames, tmp_path), frames)
    assert again.findings == ()
    assert any("inherited" in note for note in again.notes)


# ---------------------------------------------------------------- several at once, and odd input


def test_several_faults_at_once() -> None:
    frames = demo("chelsea")
    output = recoloured(shifted(bicubic(frames), 1.5, 1.5), ColourFault(range="limited range shown as full"))
    output[9] = output[8]
    assert compare(encoded(output, ".jpg", 90), frames).kinds == {
        "spatial_shift",
        "colour",
        "repeated_frames",
        "lossy_source",
    }


def test_a_lag_and_a_wrong_range_together(shared_data: Path) -> None:
    frames = vid4(shared_data, "calendar")  # moves little: less than a wrong range changes
    output = recoloured(bicubic(frames), ColourFault(range="limited range shown as full"))
    found = compare(output[1:], frames[:-1])
    assert found.kinds == {"time_offset", "colour"}
    assert found.measured["lag"] == 1


def test_shift_and_lag_together(shared_data: Path) -> None:
    frames = vid4(shared_data, "walk")
    found = compare(shifted(bicubic(frames), 1.5, -1.5)[2:], frames[:-2])
    assert found.kinds == {"spatial_shift", "time_offset"}
    assert found.measured["lag"] == 2
    assert (found.measured["shift_x"], found.measured["shift_y"]) == pytest.approx((1.5, -1.5), abs=0.1)


def test_other_counts_and_sizes_are_findings() -> None:
    frames = demo("chelsea")
    assert only(compare(frames[:-3], frames), "frame_count").values == {"output": LENGTH - 3, "truth": LENGTH}
    size = only(compare(frames[:, :, :-4], frames), "size")
    assert size.values == {"output": [252, 256], "truth": [256, 256]}


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_short_clips_are_not_refused(count: int) -> None:
    frames = demo("chelsea")[:count]
    assert compare(bicubic(frames), frames).findings == ()
    assert only(compare(shifted(bicubic(frames), 1.5, 0), frames), "spatial_shift")


@pytest.mark.parametrize("shape", [(4, 3, 8, 12), (6, 3, 32, 33), (6, 3, 64, 48)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_plain_and_tiny_frames_are_not_refused(shape: tuple[int, ...], level: int) -> None:
    frames = torch.full(shape, level, dtype=torch.uint8)
    assert compare(frames, frames).findings == ()
    noise = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    compare(noise, frames)
    compare(frames, noise)


class _Cycle(Clip):
    """A long clip: ``frames`` forth and back, again and again, with a lag from some frame on."""

    def __init__(self, frames: Frames, length: int, lag_from: int | None = None) -> None:
        self.frames = torch.cat([frames, frames[1:-1].flip(0)])
        self.length, self.lag_from = length, lag_from
        self.name, self.height, self.width = "cycle", int(frames.shape[2]), int(frames.shape[3])
        self.most = 0

    def __len__(self) -> int:
        return self.length

    def read(self, indices) -> Frames:  # type: ignore[no-untyped-def]
        self.most = max(self.most, len(indices))
        late = [i + 1 if self.lag_from is not None and i >= self.lag_from else i for i in indices]
        return self.frames[[i % len(self.frames) for i in late]]


def test_long_clips_are_looked_at_in_stretches() -> None:
    frames = demo("chelsea")
    truth, clean, faulty = (_Cycle(frames, 1000, start) for start in (None, None, 450))
    found = diagnose(clean, truth)
    assert found.findings == ()
    assert any("8 stretches" in note for note in found.notes)
    assert clean.most <= 8
    finding = only(diagnose(faulty, truth), "dropped_frames")
    assert abs(finding.values["frame"] - 450) <= 140


def test_the_stretches_cover_both_ends() -> None:
    found = windows(5000)
    assert (found[0].start, found[-1].stop) == (0, 5000)
    assert windows(240) == [range(240)]
