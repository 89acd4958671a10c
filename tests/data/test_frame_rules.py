"""Frame rules: which frames go in, come out and are scored."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import pytest
import torch

from stvsr_bench.core.errors import DataError
from stvsr_bench.data.apply import apply_protocol
from stvsr_bench.data.frame_rules import Windows, parse_windows, plan_frames, window_faults
from stvsr_bench.data.protocol import Protocol
from stvsr_bench.data.sample import Sample, SourceSample
from stvsr_bench.video.clip import ArrayClip

GOPRO = "windows(9, stride 8)"


def test_rules_are_read() -> None:
    assert parse_windows(GOPRO) == Windows(9, 8)
    assert parse_windows("every") is parse_windows("all") is None
    for wrong in ("windows", "windows(9)", "windows(9, stride 0)", "windows(09, stride 8)", "windows(9,stride 8)", ""):
        with pytest.raises(ValueError, match="is not known; accepted: every, all, windows"):
            parse_windows(wrong)


@pytest.mark.parametrize(
    ("windows", "step", "right"),
    [
        (Windows(9, 8), 8, True),
        (Windows(9, 8), 4, True),
        (Windows(9, 4), 4, True),
        (Windows(9, 8), 1, False),
        (Windows(1, 1), 2, False),
        (Windows(8, 8), 8, False),
        (Windows(9, 4), 8, False),
        (Windows(9, 16), 8, False),
    ],
)
def test_windows_fit_the_time_scale(windows: Windows, step: int, right: bool) -> None:
    assert (window_faults(windows, step) is None) == right


# Full-rate frames: (windows, first frame that no window covers), counted by hand.
WINDOWS = {9: (1, None), 10: (1, 9), 16: (1, 9), 17: (2, None), 24: (2, 17), 25: (3, None), 100: (12, 97)}


@pytest.mark.parametrize("total", WINDOWS)
def test_windows_of_gopro(total: int) -> None:
    count, dropped = WINDOWS[total]
    plan = plan_frames(GOPRO, total, 8)
    assert plan.out_frames == 9 * count
    assert list(plan.lq) == [8 * i for i in range(count + 1)]
    assert plan.windows == tuple(range(i, i + 2) for i in range(count))
    assert plan.gt is not None
    assert list(plan.gt) == [8 * window + frame for window in range(count) for frame in range(9)]
    assert list(plan.key_frames) == [9 * window + end for window in range(count) for end in (0, 8)]
    # Every key frame of the output has, in GT, the time of its LQ frame.
    inputs = [plan.lq[position] for window in plan.windows for position in window]
    assert [plan.gt[key] for key in plan.key_frames] == inputs
    last = total - 1
    one = f"GT frame {last} has no whole window and is not scored"
    several = f"GT frames {dropped}-{last} have no whole window and are not scored"
    assert plan.tail == (None if dropped is None else one if dropped == last else several)


def test_windows_with_frames_in_between() -> None:
    plan = plan_frames("windows(9, stride 4)", 14, 4)
    assert list(plan.lq) == [0, 4, 8, 12]
    assert plan.windows == (range(3), range(1, 4))
    assert plan.gt is not None
    assert list(plan.gt) == [*range(9), *range(4, 13)]
    assert list(plan.key_frames) == [0, 4, 8, 9, 13, 17]


def test_lq_ends_with_the_last_window() -> None:
    plan = plan_frames("windows(9, stride 8)", 14, 4)
    assert list(plan.lq) == [0, 4, 8]
    assert plan.windows == (range(3),)
    assert plan.tail == "GT frames 9-13 have no whole window and are not scored"
    assert plan.notes[0].startswith("one window of 9 frames")


def test_short_clips_hold_no_window() -> None:
    with pytest.raises(ValueError, match="8 frames hold no window of 9"):
        plan_frames(GOPRO, 8, 8)


def protocol(**changes: object) -> Protocol:
    facts = {"id": "w", "version": 1, "title": "t", "source": "gt", "scale": 1, "time_scale": 8, "frame_rule": GOPRO}
    return Protocol.model_validate({**facts, **changes})


def clip(frames: int) -> ArrayClip:
    """Frame i holds the value i everywhere."""
    return ArrayClip(torch.arange(frames, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 4).contiguous(), "c")


def test_a_sample_of_windows() -> None:
    sample = apply_protocol(protocol(), SourceSample("c", gt=clip(27)))
    assert sample.gt is not None
    assert [int(v) for v in sample.lq[:][:, 0, 0, 0]] == [0, 8, 16, 24]
    assert [int(v) for v in sample.gt[:][:, 0, 0, 0]] == [*range(9), *range(8, 17), *range(16, 25)]
    assert sample.inputs == (range(2), range(1, 3), range(2, 4))
    assert sample.outputs == (range(9), range(9, 18), range(18, 27))
    assert (sample.out_frames, sample.scored) == (27, range(27))
    assert sample.lq_position(7) == (0, 7)
    assert sample.lq_position(8) == sample.lq_position(9) == (1, 0)
    assert sample.lq_position(26) == (3, 0)
    with pytest.raises(IndexError):
        sample.lq_position(27)
    assert "GT frames 25-26 have no whole window and are not scored" in sample.notes
    assert any(note.startswith("3 windows of 9 frames, a new one every 8") for note in sample.notes)


def test_one_sequence_is_one_window() -> None:
    sample = apply_protocol(protocol(frame_rule="every", time_scale=2), SourceSample("c", gt=clip(6)))
    assert sample.windows is None
    assert (sample.inputs, sample.outputs) == ((range(3),), (range(5),))
    assert [sample.lq_position(i) for i in range(5)] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]


@pytest.mark.parametrize("total", [1, 2, 9])
def test_the_frame_rate_of_the_output_is_that_of_the_clip(total: int) -> None:
    source = SourceSample("c", gt=ArrayClip(clip(total).frames, "c", Fraction(24)))
    sample = apply_protocol(protocol(frame_rule="every", time_scale=4), source)
    assert (sample.lq.frame_rate, sample.frame_rate) == (6, 24)


def test_a_clip_shorter_than_a_window_is_an_error() -> None:
    with pytest.raises(DataError) as caught:
        apply_protocol(protocol(), SourceSample("c", gt=clip(8)))
    assert "clip 'c' is too short for protocol 'w'" in str(caught.value)
    assert "accepted: at least 9 frames" in str(caught.value)


def test_windows_without_gt() -> None:
    sample: Sample = apply_protocol(protocol(source="given"), SourceSample("c", lq=clip(20)))
    assert sample.gt is None
    assert (len(sample.lq), sample.out_frames) == (3, 18)
    assert not any("GT" in note for note in sample.notes)


def test_frame_rules_need_no_torch() -> None:
    code = "import sys, stvsr_bench.data.frame_rules; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
