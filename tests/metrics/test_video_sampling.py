"""Frames and fragments of the video quality models against plain loops over the definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from stvsr_bench.core.errors import MetricError
from stvsr_bench.metrics.functional.fragments import cut_fragments, enlarge, fragment_offsets, small_copy
from stvsr_bench.metrics.functional.video_quality import fused_logit, normalise_view, sigmoid
from stvsr_bench.metrics.functional.video_sampling import centred_indices, fragment_indices


@given(
    count=st.integers(1, 900),
    fragments=st.integers(1, 33),
    length=st.integers(1, 33),
    interval=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=300, deadline=None)
def test_frames_are_those_of_one_draw_for_each_stretch(
    count: int, fragments: int, length: int, interval: int, seed: int
) -> None:
    rng = np.random.RandomState(seed)
    expected = []
    for stretch in range(fragments):
        start = count // fragments * stretch
        spare = count // fragments - length * interval
        if spare > 0:
            start += int(rng.randint(0, spare))
        expected += [(start + interval * step) % count for step in range(length)]
    found = fragment_indices(
        count, fragments=fragments, length=length, interval=interval, rng=np.random.RandomState(seed)
    )
    assert list(found) == expected


@given(count=st.integers(1, 300), length=st.integers(1, 64))
def test_centred_frames(count: int, length: int) -> None:
    start = int((count - length + 1) / 2) if count >= length else 0
    assert centred_indices(count, length) == tuple((start + step) % count for step in range(length))


def test_a_clip_without_frames_is_refused() -> None:
    with pytest.raises(MetricError, match="got 0 frames"):
        centred_indices(0, 32)
    with pytest.raises(MetricError, match="got 0 frames"):
        fragment_indices(0, fragments=3, length=32, interval=2, rng=np.random.RandomState(0))


@pytest.mark.parametrize(("height", "width"), [(480, 720), (224, 224), (231, 500), (1080, 1920)])
def test_a_view_is_made_of_fragments(height: int, width: int) -> None:
    frame = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    offsets = fragment_offsets(height, width, 2, torch.Generator().manual_seed(5))
    view = cut_fragments(frame, (height, width), offsets[..., 1])
    for i in range(7):
        for j in range(7):
            top = min(height // 7 * i, height - 32) + int(offsets[0, i, j, 1])
            left = min(width // 7 * j, width - 32) + int(offsets[1, i, j, 1])
            found = view[:, 32 * i : 32 * i + 32, 32 * j : 32 * j + 32]
            assert torch.equal(found, frame[:, top : top + 32, left : left + 32])


def test_rows_are_drawn_before_columns_and_short_cells_draw_nothing() -> None:
    generator = torch.Generator().manual_seed(3)
    rows = torch.randint(480 // 7 - 32, (7, 7, 3), generator=generator)
    columns = torch.randint(720 // 7 - 32, (7, 7, 3), generator=generator)
    found = fragment_offsets(480, 720, 3, torch.Generator().manual_seed(3))
    assert torch.equal(found, torch.stack([rows, columns]))
    narrow = fragment_offsets(230, 720, 3, torch.Generator().manual_seed(3))
    assert not narrow[0].any()
    columns = torch.randint(720 // 7 - 32, (7, 7, 3), generator=torch.Generator().manual_seed(3))
    assert torch.equal(narrow[1], columns)


@pytest.mark.parametrize(("height", "width"), [(128, 160), (131, 173), (33, 41), (223, 224), (500, 100)])
def test_small_frames_are_enlarged_as_a_whole_clip_would_be(height: int, width: int) -> None:
    clip = torch.randint(0, 256, (3, 32, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    ratio = min(height / 224, width / 224)
    whole = F.interpolate(clip / 255.0, scale_factor=1 / ratio, mode="bilinear")
    expected = (whole * 255.0).type_as(clip)
    for t in (0, 17, 31):
        assert torch.equal(enlarge(clip[:, t]), expected[:, t])
        last = clip[:, t].permute(1, 2, 0).contiguous().permute(2, 0, 1)  # another memory layout
        assert torch.equal(enlarge(last), expected[:, t])


def test_large_frames_are_left_alone() -> None:
    frame = torch.zeros(3, 224, 300, dtype=torch.uint8)
    assert enlarge(frame) is frame


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(("height", "width"), [(480, 720), (100, 60), (224, 224)])
def test_small_copies_are_bilinear(height: int, width: int, antialias: bool) -> None:
    frame = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    exact = F.interpolate(frame[None].double(), (224, 224), mode="bilinear", antialias=antialias)[0]
    found = small_copy(frame, antialias=antialias)
    assert (found.double() - exact).abs().max() <= 1  # fixed-point arithmetic rounds twice
    last = frame.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert torch.equal(small_copy(last, antialias=antialias), found)


def test_views_are_standardised_on_the_scale_of_255() -> None:
    view = torch.tensor([124, 116, 104], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 2, 4, 4)
    found = normalise_view(view)
    assert found.shape == (1, 3, 2, 4, 4)
    expected = [(124 - 123.675) / 58.395, (116 - 116.28) / 57.12, (104 - 103.53) / 57.375]
    torch.testing.assert_close(found[0, :, 0, 0, 0].double(), torch.tensor(expected).double(), atol=1e-6, rtol=0)


def test_fusion_by_hand() -> None:
    assert fused_logit(0.1107, -0.08285) == 0
    assert fused_logit(0.1107 + 0.07355, -0.08285) == pytest.approx(0.6104, abs=1e-12)
    assert fused_logit(0.1107, -0.08285 + 0.03774) == pytest.approx(0.3896, abs=1e-12)
    assert sigmoid(1.0) == pytest.approx(0.7310585786300049, abs=1e-15)
    assert sigmoid(-1.0) == pytest.approx(0.2689414213699951, abs=1e-15)
    assert sigmoid(-1e9) == pytest.approx(0, abs=1e-300)
