"""One output clip against its ground truth: what went wrong on the way, if anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stvsr_bench.data.diagnosis.coding import Picture, judge, marks_of, same_detail
from stvsr_bench.data.diagnosis.colour import cell_colours, find_fault
from stvsr_bench.data.diagnosis.explain import Account, account
from stvsr_bench.data.diagnosis.findings import Diagnosis, Finding, Kind
from stvsr_bench.data.diagnosis.stretch import WINDOW, Stretch, windows
from stvsr_bench.data.diagnosis.views import SMALLEST_SIDE
from stvsr_bench.video.clip import Clip

PICTURES = 5
"""Frames that are looked at in full size for marks of coding."""


@dataclass
class _Report:
    """What is gathered on the way."""

    findings: list[Finding] = field(default_factory=list)
    measured: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, kind: Kind, text: str, **values: Any) -> None:
        self.findings.append(Finding(kind, text, values))

    def done(self) -> Diagnosis:
        measured = {key: _plain(value) for key, value in self.measured.items()}
        return Diagnosis(tuple(self.findings), measured, tuple(self.notes))


def diagnose(output: Clip, truth: Clip) -> Diagnosis:
    """Compare ``output`` with ``truth``; nothing is refused, nothing is changed.

    Interpolated frames may be anything between their neighbours, blends included: offsets and shifts are judged on
    the third of the frames that fit best, which are the restored LQ frames.

    Raises:
        ClipError: a frame cannot be read.
    """
    report = _Report()
    count = min(len(output), len(truth))
    if len(output) != len(truth):
        report.add(
            "frame_count",
            f"the output has {len(output)} frames and the ground truth {len(truth)}; the first {count} were compared",
            output=len(output),
            truth=len(truth),
        )
    if (output.height, output.width) != (truth.height, truth.width):
        report.add(
            "size",
            f"the output is {output.width}×{output.height} and the ground truth {truth.width}×{truth.height} "
            "(width × height); nothing else was compared",
            output=[output.height, output.width],
            truth=[truth.height, truth.width],
        )
        return report.done()
    if min(output.height, output.width) < SMALLEST_SIDE:
        report.notes.append(f"frames with a side below {SMALLEST_SIDE} pixels are too small for estimates")
        return report.done()
    stretches = windows(count)
    if len(stretches) > 1:
        report.notes.append(f"looked at {len(stretches)} stretches of {WINDOW} frames, evenly spread over {count}")
    looks = [Stretch(output, truth, frames) for frames in stretches]
    _tell_repeats(report, looks)
    found = account(looks)
    _tell_account(report, found)
    pictures = _pictures(output, truth, [pair for stretch in looks for pair in stretch.pairs()])
    _tell_colour(report, [_overlap(*pair, round(found.x), round(found.y)) for pair in pictures])
    _tell_coding(report, pictures, round(found.x), round(found.y))
    return report.done()


def _tell_repeats(report: _Report, looks: Sequence[Stretch]) -> None:
    frames = [stretch.start + i for stretch in looks for i in stretch.repeats]
    ratios = [stretch.least_ratio for stretch in looks if stretch.least_ratio is not None]
    moved = sum(stretch.moving for stretch in looks)
    report.measured |= {"least_change": min(ratios) if ratios else None, "moving_frames": moved}
    if not moved:
        report.notes.append("the ground truth hardly moves: repeats and offsets in time cannot be seen")
    if frames:
        report.add(
            "repeated_frames",
            f"{len(frames)} of {moved} output frames repeat the frame before although the ground truth moves: "
            f"{_listed(frames)}; frames were duplicated or not interpolated",
            frames=frames,
        )


def _tell_account(report: _Report, found: Account) -> None:
    report.measured |= {"shift_x": found.x, "shift_y": found.y, "spread": found.spread, "lag": found.lag}
    if not found.timed:
        report.notes.append("too few different frames for offsets in time")
    rival = "" if found.rival is None else f" ({found.rival})"
    if found.shifted:
        report.add("spatial_shift", _shift_text(found.x, found.y) + rival, x=found.x, y=found.y)
    if found.lag:
        report.add("time_offset", _lag_text(found.lag) + rival, frames=found.lag)
    for jump in found.jumps:
        if jump.change > 0:
            text = f"{jump.change} frame(s) of the ground truth are missing before output frame {jump.frame}"
            report.add("dropped_frames", f"{text}: later frames come too early", frame=jump.frame, frames=jump.change)
        else:
            text = f"the output has {-jump.change} frame(s) too many before frame {jump.frame}"
            report.add("extra_frames", f"{text}: later frames come too late", frame=jump.frame, frames=-jump.change)


def _pictures(output: Clip, truth: Clip, pairs: Sequence[tuple[int, int]]) -> list[tuple[Picture, Picture]]:
    """Read a few of the frames that fit best in full size, each with its GT frame."""
    chosen = pairs[:: max(1, len(pairs) // PICTURES)][:PICTURES]
    return [(output[i].numpy(), truth[j].numpy()) for i, j in chosen]


def _overlap(output: Picture, truth: Picture, x: int, y: int) -> tuple[Picture, Picture]:
    """Return the parts of both that show the same when the output lies ``x`` to the right and ``y`` down."""
    height, width = output.shape[1:]
    made = output[:, max(y, 0) : height + min(y, 0), max(x, 0) : width + min(x, 0)]
    return made, truth[:, max(-y, 0) : height + min(-y, 0), max(-x, 0) : width + min(-x, 0)]


def _tell_colour(report: _Report, pairs: Sequence[tuple[Picture, Picture]]) -> None:
    if not pairs:
        return
    fault, highest = find_fault(
        cell_colours([made for made, _ in pairs]), cell_colours([wanted for _, wanted in pairs])
    )
    report.measured["colour_gain"] = highest
    if fault.names:
        report.add(
            "colour",
            f"the colours are those of the ground truth with {' and '.join(fault.names)}",
            names=fault.names,
            gain=fault.gain,
            amounts=list(fault.amounts),
        )


def _tell_coding(report: _Report, pictures: Sequence[tuple[Picture, Picture]], x: int, y: int) -> None:
    # Frames that are GT's to the bit were not coded on the way.
    differing = [(made, wanted) for made, wanted in pictures if not np.array_equal(made, wanted)]
    if not differing:
        return
    marks, marks_of_truth = (marks_of(list(side)) for side in zip(*differing, strict=True))
    detail = max(same_detail(*_overlap(*pair, x, y)) for pair in differing)
    lossy = judge(marks, marks_of_truth, detail)
    report.measured |= {
        "whole_luma": max(marks.luma.values()),
        "whole_luma_truth": max(marks_of_truth.luma.values()),
        "halved_chroma": marks.chroma,
        "halved_chroma_truth": marks_of_truth.chroma,
        "same_detail": detail,
    }
    if lossy.found:
        seen = [f"8-bit luma of {lossy.luma}"] if lossy.luma else []
        seen += ["chroma at half resolution"] if lossy.chroma else []
        report.add(
            "lossy_source",
            f"the frames were stored as Y'CbCr ({' and '.join(seen)}), as JPEG and lossy video do: scores are moved by "
            "coding, not by the method",
            luma=lossy.luma,
            chroma=lossy.chroma,
        )
    elif lossy.undecided:
        report.notes.append("output and ground truth both bear marks of lossy coding: the output's may be inherited")


def _shift_text(x: float, y: float) -> str:
    sides = []
    if abs(x) >= 0.05:
        sides.append(f"{abs(x):.2f} pixels {'right' if x > 0 else 'left'}")
    if abs(y) >= 0.05:
        sides.append(f"{abs(y):.2f} pixels {'down' if y > 0 else 'up'}")
    return (
        f"the output lies {' and '.join(sides)} of the ground truth: a resize or degradation with another pixel phase "
        "(BD: 1.5 at ×4), or a crop"
    )


def _lag_text(frames: float) -> str:
    side = "later" if frames > 0 else "earlier"
    return (
        f"output frames show what the ground truth shows {abs(frames):g} frame(s) {side}: another first frame or "
        "another frame rule"
    )


def _plain(value: float | None) -> float | None:
    """Return a number as JSON can hold it; nothing where nothing could be measured."""
    if value is None or not np.isfinite(value):
        return None
    return value if isinstance(value, int) else float(value)


def _listed(frames: Sequence[int]) -> str:
    shown = ", ".join(map(str, frames[:8]))
    return f"frame {shown}" if len(frames) == 1 else f"frames {shown}" + (", …" if len(frames) > 8 else "")
