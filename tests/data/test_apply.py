"""Protocols applied to clips: which frames go in, come out and are scored, and what is refused."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from stvsr_bench.core.errors import ClipError, DataError
from stvsr_bench.data.apply import apply_protocol, scale_between
from stvsr_bench.data.protocol import load_protocol
from stvsr_bench.data.sample import SourceSample
from stvsr_bench.degradation.imresize import imresize
from stvsr_bench.video.clip import ArrayClip, Clip, Frames


def clip(frames: int, size: tuple[int, int] = (8, 8), rate: Fraction | None = None, name: str = "c") -> ArrayClip:
    """Frame i holds the value i everywhere."""
    values = torch.arange(frames, dtype=torch.uint8).view(-1, 1, 1, 1)
    return ArrayClip(values.expand(-1, 3, *size).contiguous(), name, rate)


def levels(frames: Frames) -> list[int]:
    assert bool((frames == frames[:, :1, :1, :1]).all())
    return [int(v) for v in frames[:, 0, 0, 0]]


# Temporal subsampling of the usual test sets: frames of the full-rate clip → {φt: (inputs, outputs)}.
SUBSAMPLING = {
    31: {2: (16, 31), 4: (8, 29), 8: (4, 25)},
    32: {2: (16, 31), 4: (8, 29), 8: (4, 25)},
    34: {2: (17, 33), 4: (9, 33), 8: (5, 33)},
    41: {2: (21, 41), 4: (11, 41), 8: (6, 41)},
    47: {2: (24, 47), 4: (12, 45), 8: (6, 41)},
    49: {2: (25, 49), 4: (13, 49), 8: (7, 49)},
    50: {2: (25, 49), 4: (13, 49), 8: (7, 49)},
    100: {2: (50, 99), 4: (25, 97), 8: (13, 97)},
}


@pytest.mark.parametrize("total", SUBSAMPLING)
@pytest.mark.parametrize("step", [2, 4, 8])
def test_frame_rule(total: int, step: int) -> None:
    inputs, outputs = SUBSAMPLING[total][step]
    sample = apply_protocol(load_protocol(f"gt-t{step}"), SourceSample("c", gt=clip(total, rate=Fraction(24))))
    assert (len(sample.lq), sample.out_frames, sample.scored) == (inputs, outputs, range(outputs))
    assert levels(sample.lq[:]) == list(range(0, total, step)) == list(sample.key_frames)
    assert sample.gt is not None
    assert levels(sample.gt[:]) == list(range(outputs))
    assert (sample.lq.frame_rate, sample.frame_rate) == (Fraction(24, step), Fraction(24))
    dropped = total - outputs
    assert any("no right neighbour" in note for note in sample.notes) == (dropped > 0)
    if dropped:
        assert sample.notes[-1].startswith(f"GT frame {total - 1} " if dropped == 1 else f"GT frames {outputs}-")


@pytest.mark.parametrize("name", ["gt-t4", "bi-x4t4", "given-x4t4"])
@pytest.mark.parametrize("total", [1, 2, 4, 5])
def test_short_clips(name: str, total: int) -> None:
    source = SourceSample("c", gt=clip(total), lq=clip(total, (2, 2)) if name.startswith("given") else None)
    sample = apply_protocol(load_protocol(name), source)
    assert (len(sample.lq), sample.out_frames) == ((2, 5) if total == 5 else (1, 1))
    assert list(sample.key_frames) == ([0, 4] if total == 5 else [0])
    assert ("one LQ frame: there is nothing to interpolate" in sample.notes) == (total < 5)
    assert sample.frame_rate is None


def test_generated_lq_is_the_degraded_gt_frame_by_frame() -> None:
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 3, 16, 24), np.uint8))
    gt = ArrayClip(frames, "c", Fraction(30000, 1001))
    sample = apply_protocol(load_protocol("bi-x4t2"), SourceSample("c", gt=gt))
    assert torch.equal(sample.lq[:], imresize(frames, Fraction(1, 4))[::2])
    assert (sample.lq.height, sample.lq.width, len(sample.lq), sample.out_frames) == (4, 6, 3, 5)
    assert sample.lq.frame_rate == Fraction(15000, 1001)
    assert "bi@1" in sample.lq.key
    assert apply_protocol(load_protocol("bi-x4"), SourceSample("c", gt=gt)).gt is gt


def test_every_input_frame_is_decoded_no_more_than_needed() -> None:
    class Counting(ArrayClip):
        seen: list[int] = []

        def read(self, indices: object) -> Frames:
            self.seen += list(indices)  # type: ignore[call-overload]
            return super().read(indices)  # type: ignore[arg-type]

    gt = Counting(clip(9).frames)
    sample = apply_protocol(load_protocol("bi-x4t4"), SourceSample("c", gt=gt))
    assert gt.seen == []
    sample.lq.read([2])
    assert gt.seen == [8]


def test_one_reader_serves_lq_and_gt() -> None:
    wrapped: list[Clip] = []

    def wrap(source: Clip) -> Clip:
        wrapped.append(source)
        return ArrayClip(source[:], source.name, source.frame_rate)

    gt, lq = clip(5), clip(5, (2, 2))
    apply_protocol(load_protocol("bi-x4t2"), SourceSample("c", gt=gt), wrap=wrap)
    assert wrapped == [gt]
    apply_protocol(load_protocol("given-x4t2"), SourceSample("c", gt=gt, lq=lq), wrap=wrap)
    assert wrapped == [gt, lq, gt]
    apply_protocol(load_protocol("given-x4t2up"), SourceSample("c", gt=gt, lq=lq), wrap=wrap)
    assert wrapped == [gt, lq, gt, lq]


def test_given_protocols_keep_every_nth_lq_frame_and_full_rate_gt() -> None:
    source = SourceSample("c", gt=clip(7, rate=Fraction(30)), lq=clip(7, (2, 2), Fraction(30)))
    sample = apply_protocol(load_protocol("given-x4t2"), source)
    assert levels(sample.lq[:]) == [0, 2, 4, 6]
    assert sample.gt is source.gt
    assert (sample.lq.frame_rate, sample.frame_rate) == (15, 30)
    assert "seen and not used" not in str(sample.notes)


def test_given_without_gt() -> None:
    sample = apply_protocol(load_protocol("given-x4t2"), SourceSample("c", lq=clip(6)))
    assert (sample.gt, len(sample.lq), sample.out_frames, sample.notes) == (None, 3, 5, ())


def test_all_frames_at_double_rate() -> None:
    source = SourceSample("c", lq=clip(15, rate=Fraction(8)), gt=clip(4, (1, 1)), errors={"gt": ClipError("broken")})
    sample = apply_protocol(load_protocol("given-x4t2up"), source)
    assert (len(sample.lq), sample.out_frames, sample.gt) == (15, 29, None)
    assert list(sample.key_frames) == list(range(0, 29, 2))
    assert (sample.lq.frame_rate, sample.frame_rate) == (8, 16)


def test_lq_seen_and_not_used_is_noted() -> None:
    source = SourceSample("c", gt=clip(3), lq=clip(99), notes=("16-bit samples became round(x/257)",))
    notes = apply_protocol(load_protocol("bi-x4"), source).notes
    assert notes == ("16-bit samples became round(x/257)", "LQ on disk was seen and not used")


def test_a_broken_file_matters_only_where_it_is_read() -> None:
    broken = ClipError("clip 'c': frame 3 cannot be decoded")
    bad_lq = SourceSample("c", gt=clip(3), errors={"lq": broken})
    assert apply_protocol(load_protocol("bi-x4"), bad_lq).out_frames == 3
    with pytest.raises(ClipError, match="frame 3"):
        apply_protocol(load_protocol("given-x4"), bad_lq)
    bad_gt = SourceSample("c", lq=clip(3), errors={"gt": broken})
    for name in ("bi-x4", "given-x4"):
        with pytest.raises(ClipError, match="frame 3"):
            apply_protocol(load_protocol(name), bad_gt)
    with pytest.raises(ClipError, match="frame 3"):
        apply_protocol(load_protocol("given-x4"), SourceSample("c", errors={"plain": broken}))


def test_a_plain_clip_serves_as_what_the_protocol_needs() -> None:
    source = SourceSample("c", plain=clip(5))
    assert apply_protocol(load_protocol("given-x4"), source).gt is None
    sample = apply_protocol(load_protocol("bi-x4"), source)
    assert sample.gt is source.plain
    assert sample.lq.height == 2


def test_absent_roles_are_named() -> None:
    with pytest.raises(DataError, match="clip 'c' has no LQ, which protocol 'given-x4' needs; got only GT"):
        apply_protocol(load_protocol("given-x4"), SourceSample("c", gt=clip(3)))
    with pytest.raises(DataError, match="clip 'c' has no GT, which protocol 'gt-t2' needs; got only LQ"):
        apply_protocol(load_protocol("gt-t2"), SourceSample("c", lq=clip(3)))


@pytest.mark.parametrize("size", [(9, 8), (8, 10)])
def test_sizes_must_be_multiples_of_the_scale(size: tuple[int, int]) -> None:
    with pytest.raises(DataError) as caught:
        apply_protocol(load_protocol("bi-x4"), SourceSample("c", gt=clip(3, size)))
    assert f"got {size[0]} rows × {size[1]} columns" in str(caught.value)
    assert "for example 8 × 8" in str(caught.value)
    assert apply_protocol(load_protocol("gt-t2"), SourceSample("c", gt=clip(3, size))).lq.height == size[0]


def test_counts_of_lq_and_gt_must_match() -> None:
    with pytest.raises(DataError, match="got 4 LQ and 5 GT frames"):
        apply_protocol(load_protocol("given-x4"), SourceSample("c", gt=clip(5), lq=clip(4, (2, 2))))


def test_sizes_of_lq_and_gt_must_match() -> None:
    with pytest.raises(DataError) as caught:
        apply_protocol(load_protocol("given-x4"), SourceSample("c", gt=clip(3), lq=clip(3)))
    assert "×1 (LQ is stored at GT size); accepted: LQ of 2 × 2 for this GT" in str(caught.value)
    with pytest.raises(DataError, match="GT 8 × 8: ×2;"):
        apply_protocol(load_protocol("given-x4"), SourceSample("c", gt=clip(3), lq=clip(3, (4, 4))))
    with pytest.raises(DataError, match="GT 8 × 8: none of ×1, ×2, ×3, ×4, ×8"):
        apply_protocol(load_protocol("given-x4"), SourceSample("c", gt=clip(3), lq=clip(3, (2, 4))))


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
def test_scale_is_recognised(scale: int) -> None:
    assert scale_between(clip(1, (5, 3)), clip(1, (5 * scale, 3 * scale))) == scale
    assert scale_between(clip(1, (5, 3)), clip(1, (5 * scale, 3 * scale + 1))) is None
