"""Video compression: repeatable in and across processes, sizes, bit rate, order, streaming, and what is refused."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from stvsr_bench.core.errors import ClipError, ConfigError, DataError
from stvsr_bench.degradation import codec
from stvsr_bench.degradation.codec import CODECS, compress, library_versions


def moving(height: int, width: int, frames: int, seed: int = 0) -> list[np.ndarray]:
    """Smooth colour structures under a moving window, with a little noise."""
    rng = np.random.default_rng(seed)
    field = cv2.GaussianBlur(rng.normal(0, 1, (height + 2 * frames, width + 3 * frames, 3)), (0, 0), 1.5)
    field = 128 + 50 * field / field.std()
    cuts = (field[2 * i : 2 * i + height, 3 * i : 3 * i + width] for i in range(frames))
    return [np.clip(cut + rng.normal(0, 4, cut.shape), 0, 255).astype(np.uint8) for cut in cuts]


def digest(frames: list[np.ndarray], name: str, bitrate: int, odd: str = "refuse") -> str:
    done = hashlib.sha256()
    for frame in compress(frames, name, bitrate, odd=odd):
        done.update(f"{frame.shape}{frame.dtype}".encode())
        done.update(np.ascontiguousarray(frame).tobytes())
    return done.hexdigest()


def rms(one: list[np.ndarray], two: list[np.ndarray]) -> float:
    return float(np.sqrt(np.mean([(a.astype(float) - b) ** 2 for a, b in zip(one, two, strict=True)])))


REPEATED = [
    (180, 320, "refuse"),
    (144, 180, "refuse"),
    (192, 320, "refuse"),
    (256, 256, "refuse"),
    (181, 321, "pad"),
    (181, 321, "crop"),
]


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize(("height", "width", "odd"), REPEATED)
def test_encoding_again_gives_the_same_pixels(height: int, width: int, odd: str, name: str) -> None:
    # with libx264's defaults, 180×320 and 181×321 give two to five different results in these five trials
    frames = moving(height, width, 17)
    assert len({digest(frames, name, 10_000, odd) for _ in range(5)}) == 1


OTHER_PROCESS = """
import importlib.util, os, sys
if sys.argv[2] == "alone" and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
spec = importlib.util.spec_from_file_location("test_codec_elsewhere", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
for height, width, odd in module.REPEATED:
    for name in ("libx264", "mpeg4"):
        print(module.digest(module.moving(height, width, 9), name, 30_000, odd))
"""


def test_another_process_with_other_memory_and_processors_gives_the_same_pixels() -> None:
    here = [
        digest(moving(height, width, 9), name, 30_000, odd)
        for height, width, odd in REPEATED
        for name in ("libx264", "mpeg4")
    ]
    # With MALLOC_PERTURB_ glibc fills memory with junk, so that a result that depends on uninitialised memory changes;
    # on one processor encoders would choose another number of threads.
    for junk, processors in (("85", "all"), ("200", "alone")):
        done = subprocess.run(
            [sys.executable, "-c", OTHER_PROCESS, str(Path(__file__)), processors],
            env={**os.environ, "MALLOC_PERTURB_": junk},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == here


def test_h264_is_libx264() -> None:
    frames = moving(64, 96, 5)
    assert digest(frames, "h264", 30_000) == digest(frames, "libx264", 30_000) != digest(frames, "mpeg4", 30_000)


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("count", [1, 2, 5, 17])
def test_number_and_order_of_frames_are_kept(name: str, count: int) -> None:
    # each frame has its own brightness and its own bright column
    frames = []
    for i in range(count):
        frame = np.full((64, 160, 3), 40 + 5 * i, np.uint8)
        frame[:, 8 * i : 8 * i + 8] = 230
        frames.append(frame)
    done = list(compress(frames, name, 400_000))
    assert len(done) == count
    for i, frame in enumerate(done):
        assert frame.dtype == np.uint8
        assert frame.shape == (64, 160, 3)
        assert int(frame.mean(axis=(0, 2)).argmax()) // 8 == i
        assert np.median(frame) == pytest.approx(40 + 5 * i, abs=3)


@pytest.mark.parametrize("name", ["libx264", "mpeg4"])
@pytest.mark.parametrize("bitrate", [30_000, 100_000])
def test_bit_rate_is_met_within_a_quarter(name: str, bitrate: int) -> None:
    # rate control needs some frames: over 5 frames it may take six times as much
    frames = moving(256, 256, 60) if bitrate > 50_000 else moving(144, 180, 60)
    stream, count = codec._encode(iter(frames), name, bitrate)
    with av.open(stream) as container:
        bits = 8 * sum(packet.size for packet in container.demux(video=0))
    assert count == 60
    assert 0.75 < bits / (bitrate * count) < 1.25


@pytest.mark.parametrize("name", ["libx264", "mpeg4"])
def test_more_bits_give_better_frames(name: str) -> None:
    # gray: half-size chroma would cost the same at every rate
    frames = [np.repeat(frame[:, :, :1], 3, axis=2) for frame in moving(128, 160, 31)]
    errors = [rms(list(compress(frames, name, bitrate)), frames) for bitrate in (10_000, 40_000, 160_000, 2_000_000)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1.5 * errors[2]


@pytest.mark.parametrize("name", ["libx264", "mpeg4"])
@pytest.mark.parametrize("colour", [(200, 40, 60), (30, 180, 90), (20, 60, 220), (255, 255, 255), (0, 0, 0)])
def test_colours_and_range_come_back(name: str, colour: tuple[int, int, int]) -> None:
    frames = [np.full((64, 64, 3), colour, np.uint8)] * 3
    for frame in compress(frames, name, 100_000):
        assert np.abs(frame.astype(int) - colour).max() <= 4


def test_luma_is_bt601_in_the_limited_range() -> None:
    frames = [np.full((32, 32, 3), (200, 40, 60), np.uint8)]
    stream, _ = codec._encode(iter(frames), "libx264", 100_000)
    with av.open(stream) as container:
        picture = next(container.decode(video=0))
        luma = picture.to_ndarray()[:32]
        assert picture.format.name == "yuv420p"
    assert luma.mean() == pytest.approx(16 + (65.481 * 200 + 128.553 * 40 + 24.966 * 60) / 255, abs=1)


@pytest.mark.parametrize("name", ["libx264", "mpeg4"])
def test_the_first_frame_fixes_the_size(name: str) -> None:
    large, small = moving(96, 128, 1)[0], moving(94, 126, 1)[0]
    large[:], small[:] = 60, 200
    small[:, :63] = 100
    done = list(compress([large, small, large], name, 400_000))
    assert [frame.shape for frame in done] == [(96, 128, 3)] * 3
    assert done[0].mean() == pytest.approx(60, abs=3)
    # the other frame was rescaled, not cut or filled up: its edge between left and right is still in the middle
    assert done[1][:, :56].mean() == pytest.approx(100, abs=4)
    assert done[1][:, 72:].mean() == pytest.approx(200, abs=4)
    assert done[1][-4:, -4:].mean() == pytest.approx(200, abs=6)


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize(("height", "width"), [(65, 96), (64, 97), (65, 97)])
def test_odd_sides_are_refused_filled_up_or_cut(name: str, height: int, width: int) -> None:
    frames = moving(height, width, 3)
    with pytest.raises(DataError, match=rf"odd size; got {width}×{height}.*odd='pad' or odd='crop'"):
        list(compress(frames, name, 50_000))
    even = [np.pad(f, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge") for f in frames]
    padded = list(compress(frames, name, 50_000, odd="pad"))
    want = list(compress(even, name, 50_000))
    assert all(np.array_equal(a, b[:height, :width]) for a, b in zip(padded, want, strict=True))
    assert padded[0].shape == (height, width, 3)
    cut = [f[: height - height % 2, : width - width % 2] for f in frames]
    cropped = list(compress(frames, name, 50_000, odd="crop"))
    assert all(np.array_equal(a, b) for a, b in zip(cropped, compress(cut, name, 50_000), strict=True))
    assert cropped[0].shape == (64, 96, 3)


def test_even_sides_do_not_care_about_the_odd_rule() -> None:
    frames = moving(64, 96, 3)
    assert len({digest(frames, "libx264", 50_000, odd) for odd in codec.ODD}) == 1


@pytest.mark.parametrize("name", ["libx264", "mpeg4"])
def test_frames_are_never_all_held(name: str) -> None:
    frame = moving(256, 256, 1)[0]
    count = 150
    list(compress([frame], name, 20_000))  # imports and caches
    tracemalloc.start()
    try:
        seen = sum(1 for _ in compress((np.roll(frame, i, axis=1) for i in range(count)), name, 20_000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seen == count
    # 150 frames are 29 MB; the bit stream and a handful of frames are below 4 MB
    assert peak < 4_000_000


def test_the_caller_may_stop_early_and_errors_of_the_source_come_through() -> None:
    frames = moving(64, 96, 6)
    result = compress(frames, "libx264", 50_000)
    assert next(result).shape == (64, 96, 3)
    del result

    def broken() -> Iterator[np.ndarray]:
        yield frames[0]
        raise ClipError("frame 1 cannot be decoded")

    with pytest.raises(ClipError, match="frame 1"):
        list(compress(broken(), "mpeg4", 50_000))


def test_wrong_input_is_refused() -> None:
    frames = moving(64, 96, 2)
    with pytest.raises(ConfigError, match="unknown codec 'x264'; accepted: libx264, h264, mpeg4"):
        compress(frames, "x264", 50_000)
    with pytest.raises(ConfigError, match="odd; got 'fill'"):
        compress(frames, "mpeg4", 50_000, odd="fill")
    with pytest.raises(ConfigError, match="bit rate; got 999 bit/s; accepted: at least 1000"):
        compress(frames, "libx264", 999)
    with pytest.raises(DataError, match="zero frames"):
        list(compress([], "libx264", 50_000))
    with pytest.raises(DataError, match=r"not a frame; got .*float32; accepted: .*uint8"):
        list(compress([frames[0].astype(np.float32)], "libx264", 50_000))
    with pytest.raises(DataError, match="not a frame"):
        list(compress([frames[0], frames[0][:, :, 0]], "libx264", 50_000))
    with pytest.raises(DataError, match="nothing is left; got 9×1"):
        list(compress([np.zeros((1, 9, 3), np.uint8)], "libx264", 50_000, odd="crop"))
    with pytest.raises(DataError, match="'mpeg4' failed; got frames of 9000×2 at 50000 bit/s"):
        list(compress([np.zeros((2, 9000, 3), np.uint8)], "mpeg4", 50_000))


def test_an_ffmpeg_without_the_encoder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(codec.CODECS, "h264", "h264_of_another_build")
    with pytest.raises(ConfigError, match="has no encoder 'h264_of_another_build'"):
        compress(moving(64, 96, 1), "h264", 50_000)


def test_versions_name_everything_that_moves_pixels() -> None:
    versions = library_versions()
    for name in ("pyav", "libavcodec", "libswscale", "x264", "opencv", "opencv_jpeg", "opencv_ipp", "numpy", "scipy"):
        assert versions[name], name
    assert versions["pyav"] == av.__version__
    assert versions["x264"].split()[0].isdigit()
    assert "jpeg" in versions["opencv_jpeg"].lower()
    assert all(isinstance(value, str) for value in versions.values())
