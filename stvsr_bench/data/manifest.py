"""Manifests: the pixels of every clip of a dataset as hashes in one small file that people can share and compare.

The file is CSV (UTF-8). Its first line is ``# stvsr-bench manifest`` and a JSON object with the format's ``version``,
the ``dataset`` with its variant, and the card's version. Then one line for each clip and role.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from stvsr_bench.core.atomic import atomic_write
from stvsr_bench.core.errors import DataError
from stvsr_bench.core.hashing import clip_hash

MANIFEST_VERSION = 1
COLUMNS = ("clip", "role", "frames", "height", "width", "sha256", "frame_marks")
MARK = 8
"""Hexadecimal digits kept of each frame's digest: enough to name the frame that differs, while the file stays small."""

_TITLE = "# stvsr-bench manifest "
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """The pixels of one clip in one role.

    Attributes:
        clip: the card's name of the clip, which renamed copies share; else its name on disk.
        role: ``gt``, ``lq`` (``lq/BIx4`` where several kinds of LQ lie side by side), or ``plain`` where nothing says
            which of the two it is.
        frames: number of frames.
        height: rows.
        width: columns.
        sha256: pixel hash of the clip (``core.hashing.clip_hash`` of its frames' digests).
        frame_marks: the first digits of every frame's digest, joined.
    """

    clip: str
    role: str
    frames: int
    height: int
    width: int
    sha256: str
    frame_marks: str

    @classmethod
    def of(cls, clip: str, role: str, size: tuple[int, int], digests: Sequence[bytes]) -> Entry:
        """Return the entry of a clip from the digests of its frames.

        Args:
            clip: its name.
            role: its role.
            size: rows and columns.
            digests: ``video.hashed.digest_of`` of every frame, in order.
        """
        marks = "".join(digest.hex()[:MARK] for digest in digests)
        return cls(clip, role, len(digests), *size, clip_hash(digests), marks)

    @property
    def marks(self) -> list[str]:
        """One mark for each frame."""
        return [self.frame_marks[i : i + MARK] for i in range(0, len(self.frame_marks), MARK)]


@dataclass(frozen=True)
class Manifest:
    """What a manifest file says.

    Attributes:
        dataset: id of the dataset with its variant, as the files are stored.
        card_version: version of the dataset's card.
        entries: one for each clip and role, in the dataset's order.
    """

    dataset: str
    card_version: int
    entries: tuple[Entry, ...]

    @property
    def name(self) -> str:
        """The dataset's name without variant and marks."""
        return self.dataset.partition("[")[0]

    def limited_to(self, clips: Iterable[str]) -> Manifest:
        """Return the part that is about ``clips``."""
        kept = set(clips)
        return Manifest(self.dataset, self.card_version, tuple(e for e in self.entries if e.clip in kept))


@dataclass(frozen=True)
class Difference:
    """In what the files differ from a manifest.

    Attributes:
        clip: the clip.
        role: its role.
        text: what differs, with frame numbers from 0.
    """

    clip: str
    role: str
    text: str

    def __str__(self) -> str:
        return f"clip '{self.clip}' ({self.role}): {self.text}"


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write ``manifest`` atomically.

    Raises:
        ResultError: the file cannot be written.
    """
    head = {"version": MANIFEST_VERSION, "dataset": manifest.dataset, "card_version": manifest.card_version}
    with atomic_write(path) as file:
        file.write(_TITLE + json.dumps(head, ensure_ascii=False) + "\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([getattr(entry, column) for column in COLUMNS] for entry in manifest.entries)


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        DataError: it cannot be read, is no manifest, is of another version, or was edited so that it contradicts
            itself.
    """
    # One field holds the marks of a whole clip; the module's own limit would stop at some 16,000 frames.
    csv.field_size_limit(max(csv.field_size_limit(), 1 << 30))
    try:
        with path.open(encoding="utf-8", newline="") as file:
            title, rows = file.readline(), list(csv.reader(file))
    except OSError as error:
        raise DataError(
            f"the manifest '{path}' cannot be read", got=error.strerror, action="check the path of the manifest"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise _broken(path, str(error)) from error
    dataset, card_version = _head(path, title)
    if not rows or tuple(rows[0]) != COLUMNS:
        raise _broken(path, f"columns {', '.join(rows[0]) if rows else 'none'}")
    entries = [_entry(path, number, row) for number, row in enumerate(rows[1:], 3)]
    seen: set[tuple[str, str]] = set()
    for entry in entries:
        if (entry.clip, entry.role) in seen:
            raise _broken(path, f"clip '{entry.clip}' ({entry.role}) twice")
        seen.add((entry.clip, entry.role))
    return Manifest(dataset, card_version, tuple(entries))


def _head(path: Path, title: str) -> tuple[str, int]:
    if not title.startswith(_TITLE):
        raise _broken(path, f"a first line without «{_TITLE.strip()}»")
    try:
        head = json.loads(title[len(_TITLE) :])
    except ValueError as error:
        raise _broken(path, f"a first line that cannot be read ({error})") from error
    version = head.get("version") if isinstance(head, dict) else None
    if version != MANIFEST_VERSION:
        raise DataError(
            f"the manifest '{path}' is of another version",
            got=f"version {version!r}",
            accepted=f"version {MANIFEST_VERSION}",
            action="write it again with `stvsr-bench prepare … --manifest FILE`, or use the stvsr-bench that wrote it",
        )
    dataset, card_version = head.get("dataset"), head.get("card_version")
    if not isinstance(dataset, str) or not isinstance(card_version, int):
        raise _broken(path, "a first line without dataset or card_version")
    return dataset, card_version


def _entry(path: Path, number: int, row: list[str]) -> Entry:
    if len(row) != len(COLUMNS):
        raise _broken(path, f"line {number} has {len(row)} columns")
    clip, role, frames, height, width, sha256, marks = row
    counts = (frames, height, width)
    if not all(re.fullmatch(r"[1-9][0-9]{0,8}", count) for count in counts) or not _HASH.fullmatch(sha256):
        raise _broken(path, f"line {number}: frames, height, width or sha256 of clip '{clip}'")
    if len(marks) != MARK * int(frames) or not re.fullmatch(r"[0-9a-f]*", marks):
        raise _broken(path, f"line {number}: clip '{clip}' has no mark for each of its {frames} frames")
    return Entry(clip, role, int(frames), int(height), int(width), sha256, marks)


def _broken(path: Path, got: str) -> DataError:
    return DataError(
        f"'{path}' is no whole manifest",
        got=got,
        accepted="a file as `stvsr-bench prepare … --manifest FILE` writes it",
        action="get it again; nothing was overwritten",
    )


def differences(expected: Manifest, found: Manifest) -> list[Difference]:
    """Say in what ``found`` differs from ``expected``: every clip, and in it every frame, that is not the same.

    The order of the clips does not count.
    """
    there = {(entry.clip, entry.role): entry for entry in found.entries}
    listed = {(entry.clip, entry.role): entry for entry in expected.entries}
    result = []
    for key, entry in listed.items():
        other = there.get(key)
        if other is None:
            result.append(Difference(*key, f"missing; the manifest lists {entry.frames} frames"))
        else:
            result += [Difference(*key, text) for text in _clip_differences(entry, other)]
    result += [Difference(*key, "not in the manifest") for key in there if key not in listed]
    return result


def _clip_differences(expected: Entry, found: Entry) -> list[str]:
    if expected == found:
        return []
    texts = []
    if (expected.height, expected.width) != (found.height, found.width):
        texts.append(
            f"{found.height} rows × {found.width} columns, not {expected.height} × {expected.width}: every frame"
        )
    else:
        texts += _frame_differences(expected.marks, found.marks)
    if expected.frames != found.frames:
        texts.insert(0, f"{found.frames} frames, not {expected.frames}")
    # Marks are parts of digests: two frames may share one, though hardly ever.
    return texts or ["other pixels in frames that their marks do not tell apart"]


def _frame_differences(expected: list[str], found: list[str]) -> list[str]:
    """Align the frames of two clips, so that one that is missing does not make all behind it differ."""
    texts = []
    start = 0  # what is equal in front is skipped, as aligning long clips takes time
    while start < min(len(expected), len(found)) and expected[start] == found[start]:
        start += 1
    changes = SequenceMatcher(None, expected[start:], found[start:], autojunk=False).get_opcodes()
    for change, *places in changes:
        if change == "equal":
            continue
        a, b, c, d = (start + place for place in places)
        same = min(b - a, d - c)
        if same:
            texts.append(f"{_frames(range(a, a + same))}: other pixels")
        if b - a > same:
            texts.append(f"{_frames(range(a + same, b))} of the manifest: missing")
        if d - c > same:
            texts.append(f"{_frames(range(c + same, d))} here: not in the manifest")
    return texts


def _frames(numbers: range) -> str:
    if len(numbers) == 1:
        return f"frame {numbers[0]}"
    return f"frames {numbers[0]}-{numbers[-1]}"
