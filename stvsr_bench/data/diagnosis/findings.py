"""What a diagnosis says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Kind = Literal[
    "frame_count",
    "size",
    "spatial_shift",
    "time_offset",
    "repeated_frames",
    "dropped_frames",
    "extra_frames",
    "colour",
    "lossy_source",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Every kind of finding."""


@dataclass(frozen=True)
class Finding:
    """One fault that the frames show.

    Attributes:
        kind: one of :data:`KINDS`.
        text: what was seen, what it usually comes from, what to look at.
        values: the estimates, for programs: pixels, frames, frame numbers, names.
    """

    kind: Kind
    text: str
    values: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for a result file."""
        return {"kind": self.kind, "text": self.text, "values": self.values}


@dataclass(frozen=True)
class Diagnosis:
    """What the comparison of one output clip with its ground truth found.

    Attributes:
        findings: the faults; empty for a clean pair.
        measured: every estimate, of clean pairs too: ``shift_x`` and ``shift_y`` in pixels, ``lag`` in frames, …
        notes: what could not be estimated, and why; which frames were looked at where not all were.
    """

    findings: tuple[Finding, ...] = ()
    measured: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds that were found."""
        return frozenset(finding.kind for finding in self.findings)

    def warnings(self) -> list[str]:
        """Return a line for each fault, for the notes of a result."""
        return [f"diagnosis: {finding.text}" for finding in self.findings]
