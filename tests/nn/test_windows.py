"""The planner: coverage, exact partition, blend weights that sum to 1, and merges that give back what was cut."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stvsr_bench.nn.windows import Span, blend_weights, keep_ranges, merge_stream, merge_tiles, plan_spans

MODES = ("cut", "drop_head", "blend")


@st.composite
def plans(draw: st.DrawFn) -> tuple[int, int, int, int, str, list[Span]]:
    align = draw(st.integers(1, 4))
    overlap = draw(st.integers(0, 6))
    size = (overlap + draw(st.integers(1, 12)) + align - 1) // align * align + overlap
    length = draw(st.integers(1, 80))
    last = draw(st.sampled_from(["short", "shift"]))
    return length, size, overlap, align, last, plan_spans(length, size, overlap, align=align, last=last)  # type: ignore[arg-type]


@given(plans())
@settings(max_examples=300, deadline=None)
def test_spans_cover_overlap_and_increase(plan: tuple[int, int, int, int, str, list[Span]]) -> None:
    length, size, overlap, align, last, spans = plan
    assert spans[0].start == 0
    assert spans[-1].stop == length
    for span in spans:
        assert span.start % align == 0
        assert len(span) <= max(size + align - 1, 1)
    for one, two in itertools.pairwise(spans):
        assert one.start < two.start
        assert one.stop < two.stop
        assert one.stop - two.start >= overlap
    if last == "shift" and length >= size:
        assert all(len(span) >= size for span in spans)


@given(plans(), st.sampled_from(["cut", "drop_head"]))
@settings(max_examples=300, deadline=None)
def test_kept_parts_are_an_exact_partition(plan: tuple[int, int, int, int, str, list[Span]], mode: str) -> None:
    length, *_, spans = plan
    kept = keep_ranges(spans, mode)  # type: ignore[arg-type]
    assert [i for k in kept for i in range(k.start, k.stop)] == list(range(length))
    assert all(s.start <= k.start <= k.stop <= s.stop for k, s in zip(kept, spans, strict=True))


@given(plans())
@settings(max_examples=200, deadline=None)
def test_cut_leaves_half_the_overlap_as_context(plan: tuple[int, int, int, int, str, list[Span]]) -> None:
    length, _, overlap, _, _, spans = plan
    for kept, span in zip(keep_ranges(spans), spans, strict=True):
        assert kept.start - span.start >= overlap // 2 or span.start == 0
        assert span.stop - kept.stop >= overlap // 2 or span.stop == length


@given(plans())
@settings(max_examples=200, deadline=None)
def test_blend_weights_sum_to_one(plan: tuple[int, int, int, int, str, list[Span]]) -> None:
    length, *_, spans = plan
    total = torch.zeros(length)
    for weight, span in zip(blend_weights(spans), spans, strict=True):
        assert float(weight.min()) > 0
        total[span.start : span.stop] += weight
    torch.testing.assert_close(total, torch.ones(length), rtol=0, atol=1e-6)


def test_blend_weights_are_linear_between_two_neighbours() -> None:
    first, second = blend_weights([Span(0, 6), Span(3, 9)])
    torch.testing.assert_close(first, torch.tensor([1, 1, 1, 0.75, 0.5, 0.25]))
    torch.testing.assert_close(second, first.flip(0))


@given(plans(), st.sampled_from(MODES))
@settings(max_examples=200, deadline=None)
def test_stream_merge_gives_back_the_whole(plan: tuple[int, int, int, int, str, list[Span]], mode: str) -> None:
    length, *_, spans = plan
    whole = torch.rand(length, 2, generator=torch.Generator().manual_seed(length))
    merged = torch.cat(list(merge_stream((whole[s.start : s.stop] for s in spans), spans, mode)))  # type: ignore[arg-type]
    torch.testing.assert_close(merged, whole, rtol=0, atol=1e-6 if mode == "blend" else 0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("size", "overlap"), [(8, 0), (8, 4), (9, 5), (8, 6)])
def test_tile_merge_gives_back_the_whole(mode: str, size: int, overlap: int) -> None:
    whole = torch.rand(2, 3, 21, 34, generator=torch.Generator().manual_seed(1))
    rows, columns = plan_spans(21, size, overlap, last="shift"), plan_spans(34, size, overlap)
    tiles = (whole[..., r.start : r.stop, c.start : c.stop] for r in rows for c in columns)
    merged = merge_tiles(tiles, rows, columns, mode)  # type: ignore[arg-type]
    torch.testing.assert_close(merged, whole, rtol=0, atol=1e-6 if mode == "blend" else 0)


def test_windows_of_interpolation_emit_the_shared_frame_once() -> None:
    """Windows that share one LQ frame: its output belongs to the earlier window."""
    spans = [s.timed(4) for s in plan_spans(9, 4, 1)]
    kept = keep_ranges(spans)
    assert [(k.start, k.stop) for k in kept] == [(0, 13), (13, 25), (25, 33)]


def test_a_stream_is_made_only_as_it_is_read() -> None:
    spans = plan_spans(100, 10, 2)
    made = []

    def blocks():
        for span in spans:
            made.append(span)
            yield torch.zeros(len(span))

    next(merge_stream(blocks(), spans, "blend"))
    assert len(made) == 1


@pytest.mark.parametrize(
    ("length", "size", "overlap", "align"), [(0, 4, 0, 1), (9, 4, 4, 1), (9, 3, -1, 1), (9, 3, 0, 4)]
)
def test_impossible_plans_are_refused(length: int, size: int, overlap: int, align: int) -> None:
    with pytest.raises(ValueError, match="spans"):
        plan_spans(length, size, overlap, align=align)
