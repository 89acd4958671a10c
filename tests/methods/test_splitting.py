"""Base chunking, tiling, padding and retrying, on methods small enough to check by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from stvsr_bench.core.errors import MethodError
from stvsr_bench.methods.base import CountRule, Method, Report, Request, SizeRule
from stvsr_bench.video.clip import ArrayClip, Frames


class Blur(Method):
    """Doubles the size after a mean over 3 frames and 5 x 5 pixels: reaches 1 frame and 2 pixels."""

    task = "vsr"
    tiling = "base"
    context = 1
    tile_overlap = 2
    minimum_tile = 4

    def restore_float(self, frames: torch.Tensor, request: Request) -> torch.Tensor:
        t = torch.arange(len(frames))
        mean = (frames[(t - 1).clamp(min=0)] + frames + frames[(t + 1).clamp(max=len(frames) - 1)]) / 3
        mean = F.avg_pool2d(F.pad(mean, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
        return mean.repeat_interleave(request.scale, -1).repeat_interleave(request.scale, -2)


class Stretch(Blur):
    """The same, then linear interpolation in time."""

    task = "stvsr"

    def restore_float(self, frames: torch.Tensor, request: Request) -> torch.Tensor:
        small = super().restore_float(frames, request)
        k = torch.arange((len(small) - 1) * request.time_scale + 1)
        before, part = k // request.time_scale, (k % request.time_scale / request.time_scale).view(-1, 1, 1, 1)
        return small[before] * (1 - part) + small[(before + 1).clamp(max=len(small) - 1)] * part


class Strict(Blur):
    """Refuses what its rules do not allow."""

    size_rule = SizeRule(multiple=4, minimum=12)
    count_rule = CountRule(multiple=4, offset=1, minimum=5)

    def restore_float(self, frames: torch.Tensor, request: Request) -> torch.Tensor:
        count, _, height, width = frames.shape
        assert count % 4 == 1
        assert count >= 5
        assert height % 4 == 0 == width % 4
        assert min(height, width) >= 12
        return super().restore_float(frames, request)


class Blended(Blur):
    """Cross-fades its pieces instead of cutting them; float until the end."""

    merge = "blend"
    context = 2
    tile_overlap = 3


class CountingClip(ArrayClip):
    """Remembers the order of reads."""

    def __init__(self, frames: Frames) -> None:
        super().__init__(frames)
        self.order: list[int] = []

    def read(self, indices: Sequence[int]) -> Frames:
        self.order.extend(indices)
        return super().read(indices)


def _frames(count: int, height: int = 31, width: int = 27) -> Frames:
    return torch.randint(0, 256, (count, 3, height, width), generator=torch.Generator().manual_seed(5)).to(torch.uint8)


def _ready(kind: type[Method], chunk: int = 8) -> Method:
    method = kind(name=kind.__name__.lower())
    method.chunk = chunk
    method.setup()
    return method


def _limit(method: Method, pixels: int, error: type[Exception] = torch.OutOfMemoryError) -> list[tuple[int, ...]]:
    """Let memory run out above ``pixels`` input samples per piece; returns the shapes that fitted."""
    done, block = [], method.restore_block

    def limited(frames: Frames, request: Request) -> torch.Tensor:
        if frames[:, 0].numel() > pixels:
            raise error("CUDA out of memory. Tried to allocate 20.00 GiB\nmore lines")
        done.append(tuple(frames.shape))
        return block(frames, request)

    method.restore_block = limited  # type: ignore[method-assign]
    return done


def _run(method: Method, frames: Frames, scale: int = 2, time_scale: int = 1, report: Report | None = None) -> Frames:
    return torch.cat(list(method.restore(ArrayClip(frames), Request(scale, time_scale), report)))


@pytest.mark.parametrize("kind", [Blur, Stretch])
@given(count=st.integers(1, 14), chunk=st.integers(1, 6), time_scale=st.integers(1, 4), limit=st.integers(600, 6000))
@settings(max_examples=25, deadline=None)
def test_split_equals_whole(kind: type[Method], count: int, chunk: int, time_scale: int, limit: int) -> None:
    time_scale = 1 if kind is Blur else time_scale
    frames = _frames(count)
    whole = kind(name="whole")
    whole.chunk = 10**6
    whole.setup()
    expected = _run(whole, frames, 2, time_scale)
    split = _ready(kind, chunk)
    _limit(split, limit)
    assert torch.equal(_run(split, frames, 2, time_scale), expected)


@pytest.mark.parametrize(("count", "height", "width"), [(1, 5, 9), (3, 12, 13), (9, 30, 31), (14, 16, 40)])
@pytest.mark.parametrize("limit", [10**9, 2500])
def test_rules_are_kept_and_the_padding_cropped(count: int, height: int, width: int, limit: int) -> None:
    method = _ready(Strict, chunk=4)
    _limit(method, limit)
    assert tuple(_run(method, _frames(count, height, width)).shape) == (count, 3, 2 * height, 2 * width)


def test_blended_pieces_stay_float_until_they_are_merged() -> None:
    frames = torch.full((9, 3, 31, 27), 77, dtype=torch.uint8)
    method = _ready(Blended, chunk=2)
    _limit(method, 6 * 20 * 20)
    report = Report()
    assert torch.equal(_run(method, frames, report=report), torch.full((9, 3, 62, 54), 77, dtype=torch.uint8))
    assert report.plan["tile"] is not None


def test_time_is_split_before_space_and_the_plan_says_so() -> None:
    method = _ready(Blur, chunk=8)
    shapes = _limit(method, 5 * 31 * 27)
    report = Report()
    _run(method, _frames(20), report=report)
    assert max(shape[0] for shape in shapes) <= 5
    assert {shape[-2:] for shape in shapes} == {(31, 27)}
    assert report.plan["tile"] is None
    assert report.plan["chunk"] == 4  # 2 core frames with one of context on either side
    assert [(r["frames"], r["tile"]) for r in report.plan["retries"]] == [(10, None), (6, None)]
    assert report.plan["retries"][0]["error"] == "CUDA out of memory. Tried to allocate 20.00 GiB"
    assert report.stages[0].name == "restore/blur"
    assert report.stages[0].frames == 20


def test_what_fits_is_remembered_within_a_clip() -> None:
    method = _ready(Blur, chunk=8)
    report = Report()
    _limit(method, 4 * 31 * 27)
    _run(method, _frames(64), report=report)
    assert len(report.plan["retries"]) == 2


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError])
def test_memory_that_never_suffices_is_an_error_that_says_what_was_tried(error: type[Exception]) -> None:
    method = _ready(Blur)
    _limit(method, 100, error)
    with pytest.raises(MethodError) as caught:
        _run(method, _frames(9))
    assert "out of memory" in str(caught.value)
    assert "attempts" in str(caught.value)
    assert "3 frame(s), tiles of" in str(caught.value)


def test_a_method_that_may_not_be_split_says_so() -> None:
    method = _ready(Blur)
    method.chunking = method.tiling = "none"
    _limit(method, 100)
    with pytest.raises(MethodError, match="chunking: none, tiling: none"):
        _run(method, _frames(9))


def test_other_errors_are_not_retried() -> None:
    method = _ready(Blur)
    calls = []

    def broken(frames: Frames, request: Request) -> torch.Tensor:
        calls.append(len(frames))
        raise RuntimeError("size mismatch")

    method.restore_block = broken  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="size mismatch"):
        _run(method, _frames(9))
    assert len(calls) == 1


@pytest.mark.parametrize("kind", [Blur, Stretch])
def test_the_clip_is_read_forwards_each_frame_once(kind: type[Method]) -> None:
    clip = CountingClip(_frames(23))
    list(_ready(kind, chunk=3).restore(clip, Request(2, 1 if kind is Blur else 3)))
    assert clip.order == list(range(23))


def test_blocks_come_as_they_are_made() -> None:
    clip = CountingClip(_frames(100, 8, 8))
    next(iter(_ready(Blur, chunk=4).restore(clip, Request(2, 1))))
    assert len(clip.order) < 12


def test_reading_is_not_the_methods_time() -> None:
    import time

    class Slow(ArrayClip):
        def read(self, indices: Sequence[int]) -> Frames:
            time.sleep(0.02 * len(indices))
            return super().read(indices)

    report = Report()
    began = time.perf_counter()
    list(_ready(Blur, chunk=1).restore(Slow(_frames(6, 8, 8)), Request(2, 1), report))
    assert report.stages[0].seconds <= time.perf_counter() - began - 6 * 0.02


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda f: f[:, :, 1:], "broke its contract"),
        (lambda f: f[1:], "broke its contract"),
        (lambda f: f.to(torch.int16), "float or uint8"),
        (lambda f: f.float() / 0 * 0, "not finite"),
    ],
)
def test_a_broken_result_is_named(result, message: str) -> None:
    method = _ready(Blur)
    method.restore_block = lambda frames, request: result(frames)  # type: ignore[method-assign]
    with pytest.raises(MethodError, match=message):
        _run(method, _frames(4), scale=1)


def test_a_method_that_streams_by_itself_is_counted() -> None:
    class Short(Blur):
        chunking = "own"

        def restore_stream(self, clip, request, report):
            yield clip[0:2]

    with pytest.raises(MethodError, match="2 frames; accepted: 4 uint8 frames"):
        _run(_ready(Short), _frames(4), scale=1)


def test_frames_too_many_are_never_handed_on() -> None:
    class Long(Blur):
        chunking = "own"

        def restore_stream(self, clip, request, report):
            while True:
                yield clip[0:3]

    blocks = _ready(Long).restore(ArrayClip(_frames(4)), Request(1, 1))
    assert len(next(blocks)) == 3
    with pytest.raises(MethodError, match="6 frames, the last block"):
        next(blocks)


def test_random_numbers_follow_seed_and_sample_only() -> None:
    method = _ready(Blur)

    def draw(seed: int, name: str) -> float:
        return torch.rand(1, generator=method.generator(Request(1, 1, seed, name))).item()

    assert draw(0, "a") == draw(0, "a")
    assert len({draw(0, "a"), draw(1, "a"), draw(0, "b")}) == 3
