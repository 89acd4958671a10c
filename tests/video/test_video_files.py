import logging
import multiprocessing
import pickle
import random
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from stvsr_bench.core.errors import ClipError
from stvsr_bench.video import files as files_module
from stvsr_bench.video.decoders import PYAV_19, DecordDecoder, DecordError, PyAVDecoder
from stvsr_bench.video.prefetch import PrefetchClip
from stvsr_bench.video.reading import VideoFileClip, open_clip
from stvsr_bench.video.writing import open_writer

WITH_DECORD = pytest.mark.skipif(
    sys.platform != "linux" or __import__("platform").machine() != "x86_64", reason="decord has wheels for Linux x86-64"
)
NTSC = Fraction(24000, 1001)


def moving(count: int, height: int, width: int) -> np.ndarray:
    """Smooth moving pattern, RGB ``(T, H, W, 3)``; every frame differs from every other."""
    t, y, x = np.meshgrid(np.arange(count), np.arange(height), np.arange(width), indexing="ij")
    planes = [128 + 100 * np.sin((x * a + y * b + t * c) / 9) for a, b, c in ((1, 2, 3), (2, -1, 5), (1, 1, -4))]
    return np.stack(planes, -1).astype(np.uint8)


def encode(
    path: Path,
    codec: str,
    pixel: str,
    frames: np.ndarray,
    options: dict[str, str] | None = None,
    times: list[int] | None = None,
    **context: Any,
) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=NTSC, options=options or {})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], pixel
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        for i, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, "rgba" if frame.shape[-1] == 4 else "rgb24")
            if "colorspace" in context:
                picture = picture.reformat(format=pixel, dst_colorspace=context["colorspace"])
            picture.pts, picture.time_base = (times[i] if times else i), 1 / NTSC
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def sequential(path: Path) -> torch.Tensor:
    """Decode by PyAV from first to last: the reference for random access."""
    with av.open(str(path)) as container:
        return torch.from_numpy(np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])).permute(
            0, 3, 1, 2
        )


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Compare without handing large tensors to pytest's report."""
    return torch.equal(a, b)


def assert_random_access_is_exact(clip: VideoFileClip, reference: torch.Tensor) -> None:
    count = len(reference)
    assert len(clip) == count
    assert same(clip[:], reference)
    order = list(range(count))[::-1]
    assert same(clip.read(order), reference[order])
    random.Random(0).shuffle(order)
    for index in order[:25]:
        assert same(clip[index], reference[index]), index
    assert same(clip.read([count - 1, 0, 0, count // 2]), reference[[count - 1, 0, 0, count // 2]])


FORMATS = {
    "h264.mp4": ("libx264", "yuv420p", {"g": "8", "bf": "2"}),
    "h264_one_gop.mp4": ("libx264", "yuv420p", {"g": "250"}),
    "h264_open_gop.mkv": ("libx264", "yuv420p", {"g": "8", "bf": "3", "x264-params": "open-gop=1"}),
    "h264_refresh.mkv": ("libx264", "yuv420p", {"x264-params": "intra-refresh=1:keyint=8"}),
    "h264_444.mp4": ("libx264", "yuv444p", {}),
    "h264_full_range.mp4": ("libx264", "yuvj420p", {}),
    "h264_10bit.mp4": ("libx264", "yuv420p10le", {}),
    "h264_rgb.mp4": ("libx264rgb", "rgb24", {}),
    "h264.ts": ("libx264", "yuv420p", {"g": "8"}),
    "h265.mp4": ("libx265", "yuv420p", {"x265-params": "log-level=none:keyint=8"}),
    "vp9.webm": ("libvpx-vp9", "yuv420p", {"g": "8", "auto-alt-ref": "1"}),
    "mpeg4.avi": ("mpeg4", "yuv420p", {"g": "8", "bf": "2"}),
    "mjpeg.avi": ("mjpeg", "yuvj420p", {}),
    "ffv1.mkv": ("ffv1", "bgr0", {}),
}


@pytest.mark.parametrize("name", FORMATS)
def test_random_access_equals_sequential_decoding(tmp_path: Path, name: str) -> None:
    codec, pixel, options = FORMATS[name]
    path = encode(tmp_path / name, codec, pixel, moving(26, 48, 64), options)
    clip = VideoFileClip(path)
    assert (clip.height, clip.width, clip.frame_rate, clip.name) == (48, 64, NTSC, path.stem)
    assert_random_access_is_exact(clip, sequential(path))


@pytest.mark.parametrize("codec", ["libx264", "ffv1"])
def test_odd_sizes_are_read(tmp_path: Path, codec: str) -> None:
    pixel = "bgr0" if codec == "ffv1" else "yuv444p"
    path = encode(tmp_path / "odd.mkv", codec, pixel, moving(5, 47, 61))
    assert same(VideoFileClip(path)[:], sequential(path))


def test_real_videos_by_both_decoders(shared_data: Path) -> None:
    paths = sorted((shared_data / "real_world").glob("*.mp4"))
    assert len(paths) == 9
    for path in paths:
        reference = sequential(path)
        clip = VideoFileClip(path)
        assert clip.notes == () or sys.platform != "linux"
        assert_random_access_is_exact(clip, reference)
        clip._use_decord = False
        clip.close()
        assert_random_access_is_exact(clip, reference)
        assert isinstance(clip._open(0), PyAVDecoder)
    assert VideoFileClip(shared_data / "real_world" / "star_240p_15fps.mp4").frame_rate == 15


@WITH_DECORD
def test_decord_decodes_common_files_and_the_reason_is_given_where_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, files_module.__name__)
    common = VideoFileClip(encode(tmp_path / "a.mp4", "libx264", "yuv420p", moving(4, 32, 32)))
    assert isinstance(common._open(0), DecordDecoder)
    assert (common.notes, caplog.text) == ((), "")
    deep = VideoFileClip(encode(tmp_path / "b.mp4", "libx264", "yuv420p10le", moving(4, 32, 32)))
    assert isinstance(deep._open(0), PyAVDecoder)
    assert "PyAV decodes it: decord converts the pixel format yuv420p10le differently" in caplog.text
    assert any("10-bit samples" in n for n in deep.notes)
    assert any(n.startswith("decoded with PyAV: decord converts") for n in deep.notes)


def test_without_decord_pyav_reads_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)
    caplog.set_level(logging.INFO, files_module.__name__)
    path = encode(tmp_path / "a.mp4", "libx264", "yuv420p", moving(9, 32, 32))
    clip = VideoFileClip(path)
    assert same(clip[:], sequential(path))
    assert "decord is not installed" in caplog.text
    assert "decord is not installed" in clip.notes[0]


@WITH_DECORD
@pytest.mark.parametrize("fault", ["count", "frame", "later"])
def test_pyav_takes_over_where_decord_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    import decord

    path = encode(tmp_path / "a.mp4", "libx264", "yuv420p", moving(9, 32, 32))
    real_read = DecordDecoder.read

    def other_pixels(self: DecordDecoder, frame: int) -> np.ndarray:
        return real_read(self, frame) ^ 1

    def fails_at_5(self: DecordDecoder, frame: int) -> np.ndarray:
        if frame == 5:
            raise DecordError("decord cannot decode frame 5")
        return real_read(self, frame)

    if fault == "count":
        monkeypatch.setattr(decord.VideoReader, "__len__", lambda self: 8)
    else:
        monkeypatch.setattr(DecordDecoder, "read", other_pixels if fault == "frame" else fails_at_5)
    caplog.set_level(logging.INFO, files_module.__name__)
    clip = VideoFileClip(path)
    assert same(clip[:], sequential(path))
    message = {"count": "decord counts 8 frames, the file holds 9", "frame": "another first frame", "later": "frame 5"}
    assert message[fault] in caplog.text
    assert message[fault] in clip.notes[0]


@pytest.mark.parametrize(("colorspace", "expected"), [(1, (198, 29, 59)), (5, (197, 28, 58))])
def test_the_stated_colour_matrix_is_used(tmp_path: Path, colorspace: int, expected: tuple[int, ...]) -> None:
    flat = np.full((3, 32, 32, 3), (200, 30, 60), np.uint8)
    path = encode(tmp_path / "a.mp4", "libx264", "yuv420p", flat, {"crf": "1"}, colorspace=colorspace)
    got = VideoFileClip(path)[1][:, 16, 16].int()
    assert (got - torch.tensor((200, 30, 60))).abs().max() <= 3
    assert (got - torch.tensor(expected)).abs().max() <= 1


@pytest.mark.parametrize("kept", [0.5, 0.9, -1])
@pytest.mark.parametrize("name", ["h264.mp4", "front.mp4", "vp9.webm", "ffv1.mkv", "mpeg4.avi"])
def test_truncated_videos_are_an_error(tmp_path: Path, name: str, kept: float) -> None:
    codec, pixel, options = FORMATS.get(name, FORMATS["h264.mp4"])
    path = tmp_path / f"{name} ~ä{Path(name).suffix}"
    if name == "front.mp4":  # index in front, as files for the web have
        with open_writer(path, "mp4", 48, 64, NTSC) as writer:
            writer.write(torch.from_numpy(moving(26, 48, 64)).permute(0, 3, 1, 2))
    else:
        encode(path, codec, pixel, moving(26, 48, 64), options)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(ClipError, match="cannot read the video") as error:
        open_clip(path)[:]
    assert str(path) in str(error.value)
    assert "truncated" in str(error.value) or "index" in str(error.value)


def test_real_video_cut_in_half(tmp_path: Path, shared_data: Path) -> None:
    data = (shared_data / "real_world" / "001.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(ClipError, match=r"half\.mp4.*(truncated|no index)"):
        open_clip(tmp_path / "half.mp4")


def test_not_a_video(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(ClipError, match="the file is empty"):
        open_clip(tmp_path / "empty.mp4")
    (tmp_path / "text.mp4").write_text("<html>404</html>")
    with pytest.raises(ClipError, match=r"cannot read the video .*text\.mp4"):
        open_clip(tmp_path / "text.mp4")
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with pytest.raises(ClipError, match="without a video track"):
        open_clip(tmp_path / "sound.mkv")


def test_zero_frames(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "none.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 16, 16, "bgr0"
        container.start_encoding()
    with pytest.raises(ClipError, match="cannot read the video"):
        open_clip(tmp_path / "none.mkv")


def test_damage_inside_a_matroska_file_is_found(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv", "ffv1", "bgr0", moving(6, 48, 64))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ClipError, match="checksum of its part at byte"):
        open_clip(path)


def test_frames_that_the_decoder_marks_as_damaged_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)  # it would repair them silently
    data = encode(tmp_path / "a.mp4", "libx264", "yuv420p", moving(20, 64, 96), {"bf": "0"}).read_bytes()
    path = tmp_path / "b.mp4"
    start, end = data.index(b"mdat") + 4, data.index(b"moov")
    found = 0
    for offset in range(start + 3000, end - 100, (end - start) // 40):
        path.write_bytes(data[:offset] + bytes(b ^ 0x55 for b in data[offset : offset + 60]) + data[offset + 60 :])
        try:
            with av.open(str(path)) as container:
                marked = any(f.is_corrupt for f in container.decode(video=0))
        except av.error.FFmpegError:
            marked = True
        if marked:
            found += 1
            with pytest.raises(ClipError, match=r"cannot read the video '.*b\.mp4'"):
                open_clip(path)[:]
    assert found > 0


def test_transparent_video_is_an_error_and_opaque_alpha_is_dropped(tmp_path: Path) -> None:
    rgba = np.concatenate([moving(4, 32, 32), np.full((4, 32, 32, 1), 255, np.uint8)], -1)
    opaque = open_clip(encode(tmp_path / "a.mkv", "ffv1", "bgra", rgba))
    assert same(opaque[:], torch.from_numpy(rgba[..., :3]).permute(0, 3, 1, 2))
    assert "a fully opaque alpha channel was dropped" in opaque.notes
    rgba[2, 5, 5, 3] = 100
    clip = open_clip(encode(tmp_path / "b.mkv", "ffv1", "bgra", rgba))
    assert len(clip[:2]) == 2
    with pytest.raises(ClipError, match="frame 2 of 4: transparent pixels"):
        clip[:]


def test_varying_frame_rate_is_noted(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", "libx264", "yuv420p", moving(6, 32, 32), {"bf": "0"}, times=[0, 1, 2, 10, 11, 30])
    clip = VideoFileClip(path)
    assert any("frame rate varies" in n for n in clip.notes)
    assert same(clip[:], sequential(path))


def test_rotation_is_noted_and_pixels_stay_as_stored(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        stream.set_display_rotation(90)
        for frame in moving(4, 32, 48):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode(None))
    clip = VideoFileClip(tmp_path / "a.mp4")
    assert (clip.height, clip.width) == (32, 48)
    assert any("asks players to rotate by" in n for n in clip.notes)
    assert same(clip[:], sequential(tmp_path / "a.mp4"))


@pytest.mark.parametrize("step", [1, 5])
@pytest.mark.parametrize("kept", [32 << 20, 0], ids=["memory", "file"])
@pytest.mark.parametrize(("count", "group"), [(40, 12), (40, 250), (11, 250)])
def test_backwards_reading_decodes_each_group_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, group: int, kept: int, step: int
) -> None:
    """A whole pass backwards, after one forwards: no frame leaves the decoder twice, however large a group is."""
    options = {"g": str(group), "sc_threshold": "0", "bf": "0"}
    path = encode(tmp_path / "a.mp4", "libx264", "yuv420p", moving(count, 32, 32), options)
    monkeypatch.setattr(files_module, "_BEHIND_BYTES", kept)
    decoded: list[object] = []
    seek, read = PyAVDecoder._go_to, DecordDecoder.read

    def counted(frames: Iterator[Any]) -> Iterator[Any]:
        for frame in frames:
            decoded.append(frame.pts)
            yield frame

    def counting_seek(self: PyAVDecoder, start: int) -> None:
        before = self._frames
        seek(self, start)
        if self._frames is not before:
            self._frames = counted(self._frames)

    def counting_read(self: DecordDecoder, frame: int) -> Any:
        decoded.extend(range(self._next, frame + 1))
        return read(self, frame)

    clip = VideoFileClip(path)
    reference = clip[:]
    with PrefetchClip(clip, budget_bytes=0) as reader:
        monkeypatch.setattr(PyAVDecoder, "_go_to", counting_seek)
        monkeypatch.setattr(DecordDecoder, "read", counting_read)
        for stop in range(count, 0, -step):
            block = range(stop - 1, max(stop - step, 0) - 1, -1)
            assert same(reader.read(block), reference[list(block)])
    assert len(decoded) == count


def _child(clip: VideoFileClip, garbage: list[VideoFileClip], queue: Any) -> None:
    garbage.clear()  # frees decoders whose threads exist in the parent only
    clip.close()
    try:
        queue.put(clip[3].sum().item())
    except ClipError as error:
        queue.put(str(error))


def test_pickle_fork_and_close(tmp_path: Path) -> None:
    clip = VideoFileClip(encode(tmp_path / "a.mp4", "libx264", "yuv420p", moving(9, 32, 32)))
    reference = clip[:]
    first = clip[2]  # leaves an open decoder behind, which the child must not touch
    garbage = [pickle.loads(pickle.dumps(clip)) for _ in range(3)]
    for i, other in enumerate(garbage):
        other._use_decord = i > 0
        other[1]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_child, args=(clip, garbage, queue))
    process.start()
    answer = queue.get(timeout=60)
    if PYAV_19:
        assert "forked process" in answer
        assert "spawn" in answer
    else:
        assert answer == reference[3].sum().item()
    process.join(60)
    assert process.exitcode == 0
    assert same(pickle.loads(pickle.dumps(clip))[:], reference)
    clip.close()
    assert same(clip[2], first)
    assert clip.files() == (str(tmp_path / "a.mp4"),)
