"""Applying recipes: the order of the steps, the types between them, and what the result must not depend on."""

from __future__ import annotations

import copy
import json
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from stvsr_bench.core.errors import DataError
from stvsr_bench.degradation import codec, pipeline
from stvsr_bench.degradation.blur import blur_kernel, filter2d
from stvsr_bench.degradation.clipwise import CLIPWISE
from stvsr_bench.degradation.jpeg import diff_jpeg, jpeg
from stvsr_bench.degradation.noise import gaussian, poisson
from stvsr_bench.degradation.resample import resize
from stvsr_bench.degradation.streams import Stream, stream_key

SIZE = (72, 104)
NAMES = list(CLIPWISE)


def clip(frames: int, size: tuple[int, int] = SIZE) -> torch.Tensor:
    """A smooth picture that moves by a pixel per frame, with some texture."""
    height, width = size
    generator = torch.Generator().manual_seed(5)
    small = torch.rand(1, 3, height // 6 + 2, width // 6 + 6, generator=generator)
    picture = torch.nn.functional.interpolate(small, size=(height + 8, width + 64), mode="bicubic", align_corners=False)
    picture = (picture + 0.05 * torch.randn(picture.shape, generator=generator)).clamp(0, 1)[0] * 255
    return torch.stack([picture[:, :height, t % 60 : t % 60 + width] for t in range(frames)]).to(torch.uint8)


def recipe_of(name: str, frames: int, label: str = "c", size: tuple[int, int] = SIZE, scale: int = 4) -> dict[str, Any]:
    return CLIPWISE[name].sample("set", label, frames, size, scale, 0)


def lq_of(recipe: dict[str, Any], frames: torch.Tensor, block: int = 8) -> torch.Tensor:
    return torch.cat(list(CLIPWISE[recipe["degradation"]].apply(recipe, frames.split(block))))


def made_of(steps: list[dict[str, Any]], frames: int, size: tuple[int, int], scale: int = 1) -> dict[str, Any]:
    """A recipe of these steps alone."""
    recipe = recipe_of("dove", frames, size=(max(size[0], 32), max(size[1], 32)), scale=1)
    return {**recipe, "size": list(size), "scale": scale, "parts": [{"first": 0, "count": frames, "steps": steps}]}


def by_hand(recipe: dict[str, Any], frames: torch.Tensor) -> torch.Tensor:
    """The published pipelines written as loops over lists of whole clips, from the recipe alone."""
    done = []
    for part in recipe["parts"]:
        first, count = part["first"], part["count"]
        work: list[np.ndarray] = [f.permute(1, 2, 0).numpy().astype(np.float32) for f in frames[first : first + count]]
        for step in part["steps"]:
            kind = step["kind"]

            def value(field: str, t: int, step: dict[str, Any] = step) -> Any:
                return None if field not in step else step[field][t if len(step[field]) > 1 else 0]

            for t in range(count):
                if kind == "blur":
                    numbers = {n: value(n, t) for n in ("sigma_x", "sigma_y", "rotation", "beta", "omega")}
                    kernel = blur_kernel(step["kernel"], step["size"], pad_to=step.get("pad_to"), **numbers)
                    work[t] = filter2d(work[t], kernel)
                elif kind == "resize":
                    size = tuple(value("sizes", t))
                    factor = value("factors", t)
                    work[t] = resize(work[t], size, step["interpolation"], step["backend"], scale=factor)
                elif kind == "noise":
                    stream = Stream(stream_key(step["key"], first + t))
                    if step["model"] == "gaussian":
                        work[t] = gaussian(work[t], value("level", t), step["gray"], stream)
                    else:
                        work[t] = poisson(work[t], value("level", t), step["gray"], step["domain"], stream)
                    work[t] = np.clip(work[t], 0, 255) if step["clip"] else work[t]
                elif kind == "jpeg" and step["backend"] == "diff":
                    work[t] = diff_jpeg(work[t], value("quality", t))
                elif kind == "jpeg":
                    quality = round(value("quality", t))
                    work[t] = jpeg(work[t], quality, step["rounding"], step["channels"]).astype(np.uint8)
            if kind == "video":
                whole = [np.clip(f, 0, 255).astype(np.uint8) for f in work]
                coded = codec.compress(whole, step["codec"], step["bitrate"], odd=step["odd"])
                work = [f.astype(np.float32) for f in coded]
        done += work
    final = np.rint(np.clip(np.stack(done), 0, 255)).astype(np.uint8)
    return torch.from_numpy(final).permute(0, 3, 1, 2)


@pytest.mark.parametrize("name", NAMES)
def test_the_result_is_that_of_the_steps_in_their_order(name: str) -> None:
    frames = clip(6)
    for label in ("a", "b", "c"):
        recipe = recipe_of(name, 6, label)
        assert torch.equal(lq_of(recipe, frames), by_hand(recipe, frames))


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_that_went_through_json_gives_the_same_pixels(name: str) -> None:
    frames, recipe = clip(5), recipe_of(name, 5)
    text = json.dumps(recipe)
    assert json.loads(text) == recipe
    through = torch.cat(list(pipeline.apply(json.loads(text), [frames])))
    assert torch.equal(through, lq_of(recipe, frames))
    assert recipe == recipe_of(name, 5), "applying must not change the recipe"


@pytest.mark.parametrize("name", NAMES)
def test_blocks_threads_and_repetition_do_not_matter(name: str) -> None:
    frames, recipe = clip(7), recipe_of(name, 7)
    before = cv2.getNumThreads()
    first = lq_of(recipe, frames, block=7)
    try:
        for threads, block in ((1, 1), (4, 3)):
            cv2.setNumThreads(threads)
            assert torch.equal(lq_of(recipe, frames, block=block), first)
    finally:
        cv2.setNumThreads(before)


def _work(job: tuple[str, str]) -> bytes:
    name, label = job
    return lq_of(recipe_of(name, 4, label), clip(4)).numpy().tobytes()


def test_processes_and_order_do_not_matter() -> None:
    jobs = [(name, label) for name in ("realbasicvsr", "star") for label in ("x", "y")]
    here = {job: _work(job) for job in jobs}
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        there = dict(zip(jobs[::-1], pool.map(_work, jobs[::-1]), strict=True))
    assert there == here
    assert len(set(here.values())) == len(jobs)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("size", "scale"), [((36, 52), 4), ((64, 48), 2), ((66, 99), 3), ((32, 40), 1)])
def test_lq_is_exactly_gt_by_scale_odd_sizes_too(name: str, size: tuple[int, int], scale: int) -> None:
    for label in range(4):
        lq = lq_of(recipe_of(name, 2, str(label), size, scale), clip(2, size))
        assert lq.shape == (2, 3, size[0] // scale, size[1] // scale)
        assert lq.dtype == torch.uint8


@pytest.mark.parametrize("name", NAMES)
def test_lq_shows_the_picture(name: str) -> None:
    """Colours stay in their places and rows and columns stay rows and columns, in every preset."""
    frames = clip(4, (96, 160)) // 4
    frames[:, 0, :, :80] += 150
    frames[:, 2, 48:, :] += 150
    plain = torch.nn.functional.avg_pool2d(frames.float(), 4)
    for label in range(6):
        lq = lq_of(recipe_of(name, 4, f"p{label}", (96, 160)), frames).float()
        for channel in range(3):
            a, b = lq[:, channel].flatten(), plain[:, channel].flatten()
            if channel != 1:
                assert torch.corrcoef(torch.stack([a, b]))[0, 1] > 0.7
            assert abs(float(a.mean() - b.mean())) < 25


def test_frames_from_jpeg_are_8_bit_until_noise_or_video() -> None:
    """Enlarging an 8-bit edge bicubically overshoots in float32 and saturates in uint8."""
    frame = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    frame[..., 16:] = 255
    jpeg_step = {"name": "j", "kind": "jpeg", "backend": "cv2", "quality": [95.0], "rounding": "round"}
    jpeg_step["channels"] = "rgb"
    up = {"name": "u", "kind": "resize", "interpolation": "bicubic", "backend": "cv2", "sizes": [[64, 64]]}
    down = {**up, "name": "d", "interpolation": "area", "sizes": [[32, 32]]}
    mixed = {
        "name": "n",
        "kind": "noise",
        "model": "gaussian",
        "gray": True,
        "level": [1e-9],
        "clip": False,
        "key": "k",
    }
    saturated = lq_of(made_of([jpeg_step, up, down], 1, (32, 32)), frame)
    coded = jpeg(frame[0].permute(1, 2, 0).numpy(), 95, "round", "rgb").astype(np.uint8)
    expected = cv2.resize(cv2.resize(coded, (64, 64), interpolation=cv2.INTER_CUBIC), (32, 32), interpolation=3)
    assert np.array_equal(saturated[0].permute(1, 2, 0).numpy(), expected)
    floating = lq_of(made_of([jpeg_step, mixed, up, down], 1, (32, 32)), frame)
    assert not torch.equal(saturated, floating)


def test_video_gets_clipped_then_truncated_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []

    def keep(frames: Iterator[np.ndarray], *_: Any, **__: Any) -> Iterator[np.ndarray]:
        for frame in frames:
            seen.append(frame)
            yield frame

    monkeypatch.setattr(codec, "compress", keep)
    frames = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    noise = {
        "name": "n",
        "kind": "noise",
        "model": "gaussian",
        "gray": False,
        "level": [40.0],
        "clip": False,
        "key": "k",
    }
    video = {"name": "v", "kind": "video", "codec": "mpeg4", "bitrate": 50_000, "odd": "pad", "size": [32, 32]}
    lq = lq_of(made_of([noise, video], 2, (32, 32)), frames)
    assert len(seen) == 2
    for t, got in enumerate(seen):
        noisy = gaussian(frames[t].permute(1, 2, 0).numpy().astype(np.float32), 40.0, False, Stream(stream_key("k", t)))
        assert noisy.min() < -20
        assert noisy.max() > 275
        assert np.array_equal(got, np.floor(np.clip(noisy, 0, 255)))
        assert np.array_equal(lq[t].permute(1, 2, 0).numpy(), got)


def test_noise_of_a_frame_is_named_by_its_number_in_the_clip() -> None:
    """Frames alike get fields of their own, and a later part goes on counting."""
    frames = torch.full((4, 3, 32, 32), 128, dtype=torch.uint8)
    noise = {
        "name": "n",
        "kind": "noise",
        "model": "gaussian",
        "gray": False,
        "level": [10.0],
        "clip": False,
        "key": "k",
    }
    whole = made_of([noise], 4, (32, 32))
    split = copy.deepcopy(whole)
    split["parts"] = [{"first": 0, "count": 1, "steps": [noise]}, {"first": 1, "count": 3, "steps": [noise]}]
    lq = lq_of(whole, frames)
    assert torch.equal(lq, lq_of(split, frames))
    assert len({frame.numpy().tobytes() for frame in lq}) == 4


@pytest.mark.parametrize("name", ["realbasicvsr", "star"])
def test_memory_does_not_grow_with_the_number_of_frames(name: str) -> None:
    size = (144, 208)
    base = clip(8, size)

    def peak(frames: int) -> int:
        recipe = recipe_of(name, frames, "m", size)
        blocks = (base for _ in range(frames // 8))
        tracemalloc.start()
        try:
            total = sum(len(block) for block in CLIPWISE[name].apply(recipe, blocks))
            assert total == frames
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    short, long = peak(16), peak(80)
    # the recipe and the bit streams (at most 12.5 kB a frame) grow; a decoded frame would add 90 kB, or 360 as float32
    assert (long - short) / 64 < 30_000


def test_frames_are_made_one_by_one_where_no_video_comes_between() -> None:
    """Real-ESRGAN's frames need not wait for the last one."""
    taken = 0

    def blocks() -> Iterator[torch.Tensor]:
        nonlocal taken
        for _ in range(32):
            taken += 1
            yield clip(1)

    made = CLIPWISE["real_esrgan"].apply(recipe_of("real_esrgan", 32), blocks())
    assert len(next(iter(made))) == 8
    assert taken == 8


@pytest.mark.parametrize("name", ["dove", "star"])
@pytest.mark.parametrize("frames", [3, 6])
def test_another_number_of_frames_is_an_error(name: str, frames: int) -> None:
    with pytest.raises(DataError, match=r"another number of frames; got (3|more than 5) frames; accepted: 5 frames"):
        lq_of(recipe_of(name, 5), clip(frames))


def test_frames_of_another_size_or_type_are_an_error() -> None:
    recipe = recipe_of("dove", 2)
    with pytest.raises(DataError, match=r"does not fit its frames.*\(2, 3, 104, 72\).*3, 72, 104"):
        lq_of(recipe, clip(2).transpose(2, 3))
    with pytest.raises(DataError, match="float32"):
        lq_of(recipe, clip(2).float())


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda r: r.update(frames=4), "the parts have 3 frames, the clip 4"),
        (lambda r: r["parts"][0].update(first=1), "a part begins at frame 1"),
        (lambda r: r["parts"][0]["steps"][0].update(quality=[50.0, 40.0]), "q.quality has 2 values for 3 frames"),
        (lambda r: r["parts"][0]["steps"][0].update(sharpness=3), "Extra inputs"),
        (lambda r: r["parts"][0]["steps"][0].update(kind="wavelet"), "wavelet"),
        (lambda r: r.update(generator="mt19937@1"), "generator"),
        (lambda r: r.update(format=2), "format"),
        (lambda r: r.pop("size"), "size"),
    ],
)
def test_edited_recipes_are_refused(edit: Any, message: str) -> None:
    step = {"name": "q", "kind": "jpeg", "backend": "cv2", "quality": [50.0], "rounding": "round", "channels": "rgb"}
    recipe = made_of([step], 3, (32, 32))
    assert lq_of(recipe, clip(3, (32, 32))).shape == (3, 3, 32, 32)
    edit(recipe)
    with pytest.raises(DataError, match=f"recipe cannot be read.*{message}"):
        lq_of(recipe, clip(3, (32, 32)))


def test_a_recipe_that_ends_at_another_size_is_refused() -> None:
    step = {"name": "r", "kind": "resize", "interpolation": "area", "backend": "cv2", "sizes": [[16, 20]]}
    with pytest.raises(DataError, match="does not end at its own size; got 20×16; accepted: 32×32"):
        lq_of(made_of([step], 2, (32, 32)), clip(2, (32, 32)))
