"""Diagnosing outputs: two clips or two folders of clips, and outputs made elsewhere before they are scored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stvsr_bench.core.errors import BenchError, DataError
from stvsr_bench.core.slug import unslug
from stvsr_bench.data.diagnosis.diagnose import diagnose
from stvsr_bench.data.diagnosis.findings import Diagnosis
from stvsr_bench.data.layout import ClipPaths, detect_layout
from stvsr_bench.data.sample import Sample
from stvsr_bench.methods.base import Method
from stvsr_bench.methods.outputs import Outputs
from stvsr_bench.video.reading import IMAGE_EXTS, open_clip


@dataclass(frozen=True)
class Pair:
    """An output clip and its ground truth on disk.

    Attributes:
        name: the clip's name.
        output: folder of frames or video.
        truth: likewise.
    """

    name: str
    output: Path
    truth: Path


@dataclass(frozen=True)
class Pairs:
    """What there is to compare.

    Attributes:
        pairs: clips by name, in the order of the ground truth.
        notes: clips that have no counterpart.
    """

    pairs: tuple[Pair, ...]
    notes: tuple[str, ...] = ()


def find_pairs(outputs: Path, truth: Path) -> Pairs:
    """Return the clips to compare.

    Args:
        outputs: a video, a folder of frames, or a folder of clips in any known layout.
        truth: likewise. Two single clips are a pair whatever their names are; folders are paired by clip name.

    Raises:
        DataError: one is a clip and the other a folder of clips, no name is in both, or a folder is unreadable.
    """
    single = [_is_clip(path) for path in (outputs, truth)]
    if all(single):
        return Pairs((Pair(truth.stem if truth.is_file() else truth.name, outputs, truth),))
    if any(single):
        kinds = ["one clip" if alone else "a folder of clips" for alone in single]
        raise DataError(
            f"'{outputs}' and '{truth}' cannot be compared",
            got=f"{kinds[0]} and {kinds[1]}",
            accepted="two clips (videos or folders of frames), or two folders of clips",
            action="name the clip inside the folder, or the folder above the clip",
        )
    made = {unslug(name): _path(paths) for name, paths in detect_layout(outputs).clips.items()}
    wanted = {name: _path(paths) for name, paths in detect_layout(truth).clips.items()}
    names = [name for name in wanted if name in made]
    if not names:
        raise DataError(
            f"no clip in '{outputs}' is called like one in '{truth}'",
            got=f"{_listed(made)} and {_listed(wanted)}",
            accepted="equal clip names",
            action="name the outputs like the clips of the ground truth",
        )
    notes = []
    if lonely := [name for name in wanted if name not in made]:
        notes.append(f"no output for {_listed(lonely)}")
    if lonely := [name for name in made if name not in wanted]:
        notes.append(f"no ground truth for {_listed(lonely)}")
    return Pairs(tuple(Pair(name, made[name], wanted[name]) for name in names), tuple(notes))


def diagnose_pairs(pairs: Pairs) -> Iterator[tuple[Pair, Diagnosis | BenchError]]:
    """Yield the diagnosis of every pair as it is made, or why it could not be made: one bad clip fails itself only."""
    for pair in pairs.pairs:
        try:
            yield pair, diagnose(open_clip(pair.output, pair.name), open_clip(pair.truth, pair.name))
        except BenchError as error:
            yield pair, error


def diagnose_outputs(method: Method, sample: Sample) -> Diagnosis | None:
    """Diagnose outputs made elsewhere before they are scored.

    Returns:
        ``None`` for any other method, without ground truth, and for outputs that do not fit the protocol (which the
        method then refuses).

    Raises:
        BenchError: the outputs are absent or cannot be read.
    """
    if not isinstance(method, Outputs) or sample.gt is None:
        return None
    made = open_clip(method.find(sample.name), sample.name)
    wanted = (sample.out_frames, sample.lq.height * sample.scale, sample.lq.width * sample.scale)
    if (len(made), made.height, made.width) != wanted:
        return None
    return diagnose(made, sample.gt)


def diagnosis_record(diagnosis: Diagnosis | None) -> dict[str, Any] | None:
    """Return what a result file keeps of a diagnosis."""
    if diagnosis is None:
        return None
    return {
        "findings": [finding.as_dict() for finding in diagnosis.findings],
        "measured": dict(diagnosis.measured),
        "notes": list(diagnosis.notes),
    }


def diagnosis_notes(record: dict[str, Any] | None) -> list[str]:
    """Return the warnings of a kept diagnosis for the notes of its result."""
    return [] if record is None else [f"diagnosis: {finding['text']}" for finding in record["findings"]]


def _is_clip(path: Path) -> bool:
    if path.is_dir():
        return any(entry.suffix.lower() in IMAGE_EXTS for entry in path.iterdir() if not entry.name.startswith("."))
    return path.exists()


def _path(paths: ClipPaths) -> Path:
    found = paths.gt or paths.plain or next(iter(paths.lq.values()))
    return found


def _listed(names: dict[str, Path] | list[str]) -> str:
    shown = list(names)[:6]
    return f"{len(names)} clip(s): {', '.join(shown)}" + (", …" if len(names) > 6 else "")
