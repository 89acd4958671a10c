"""LQ sets that a degradation makes clip by clip: made once, stored as PNG, read from there ever after."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

import stvsr_bench
from stvsr_bench.core.atomic import TEMPORARY_PREFIX, atomic_folder, atomic_write, write_json
from stvsr_bench.core.errors import DataError, ResultError
from stvsr_bench.core.hashing import canonical_json, clip_hash, digest
from stvsr_bench.core.paths import data_root
from stvsr_bench.data.generated_store import (
    FRAMES_FOLDER,
    RECIPE_FILE,
    RECORD_FILE,
    SetKey,
    SetRecord,
    StoredSet,
    load_set,
    set_lock,
)
from stvsr_bench.video.clip import Clip, Frames
from stvsr_bench.video.hashed import HashedClip, digest_of, files_state
from stvsr_bench.video.writing import open_writer

if TYPE_CHECKING:
    from stvsr_bench.data.dataset import Dataset
    from stvsr_bench.degradation.clipwise import ClipDegradation

BLOCK = 8  # frames of GT read at a time

Progress = Callable[[int, int], None]
"""Called with frames done and frames in all."""


@dataclass(frozen=True)
class Generation:
    """Where a dataset's generated LQ sets lie and under which names.

    Attributes:
        dataset: the dataset's name without variant, which recipes are drawn for.
        root: folder of all generated sets.
        names: the card's name of a clip, for copies that name it otherwise.
    """

    dataset: str
    root: Path
    names: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: Dataset) -> Generation:
        """Return where the sets of ``dataset`` lie: below ``generated`` in the data root."""
        names = {source.name: dataset.canonical(source.name) for source in dataset.sources()}
        return cls(dataset.name, generated_root(), {name: known for name, known in names.items() if name != known})

    def known_hash(self, state: str | None) -> str | None:
        """Return the pixel hash of a GT clip whose files were seen in ``state`` before, or ``None``."""
        try:
            return None if state is None else self._note(state).read_text(encoding="utf-8").strip() or None
        except OSError:
            return None

    def remember_hash(self, state: str | None, pixel_hash: str) -> None:
        """Keep the pixel hash of a GT clip for as long as ``files_state`` of its files stays the same."""
        if state is not None and self.known_hash(state) != pixel_hash:
            with atomic_write(self._note(state)) as file:
                file.write(pixel_hash + "\n")

    def _note(self, state: str) -> Path:
        return self.root / ".gt-hashes" / state


def generated_root() -> Path:
    """Return the folder of all generated sets: ``generated`` in the data root."""
    return data_root() / "generated"


class GeneratedClip(Clip):
    """The LQ frames that a degradation makes of a whole GT clip.

    Number and size of the frames are known at once. The first read (or :meth:`ensure`) opens the stored set of this GT
    or makes it: once, under a lock that every process respects, into a temporary name that becomes the set's own when
    it is whole. What is read later is what was stored, compared with its hashes frame by frame.

    Attributes:
        made: whether this object made the set, rather than found it.

    Args:
        gt: the full-rate ground truth, its sides multiples of ``scale``.
        degradation: what makes LQ of it.
        scale: spatial factor φs.
        seed: the protocol's ``degradation_seed``.
        generation: where the sets of this dataset lie.
        name: the clip's name in the dataset.
    """

    def __init__(
        self, gt: Clip, degradation: ClipDegradation, scale: int, seed: int, generation: Generation, name: str
    ) -> None:
        self.gt = gt
        self.degradation = degradation
        self.generation = generation
        self.name = name
        self.frame_rate = gt.frame_rate
        self.height, self.width = gt.height // scale, gt.width // scale
        canonical = generation.names.get(name, name)
        self.set_key = SetKey(degradation.id, degradation.version, scale, seed, generation.dataset, canonical)
        self._lock = threading.Lock()
        self._stored: StoredSet | None = None
        self.made = False

    def __len__(self) -> int:
        return len(self.gt)

    def read(self, indices: Sequence[int]) -> Frames:
        return self.ensure().clip().read(indices)

    def files(self) -> Sequence[str]:
        return self.gt.files() if self._stored is None else self._stored.clip().files()

    @property
    def key(self) -> str:
        if self._stored is None:
            return f"{self.gt.key}|{self.set_key}, not made yet"
        return self._stored.clip().key

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]
        """GT's notes; once the set is open, also whether other library versions made it."""
        return (*self.gt.notes, *(() if self._stored is None else self.version_notes(self._stored)))

    def version_notes(self, stored: StoredSet) -> tuple[str, ...]:
        """Say which libraries have other versions now than when ``stored`` was made; empty where none has."""
        then, now = stored.record.libraries, self.degradation.libraries()
        changed = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
        if not changed:
            return ()
        texts = (f"{name} {then.get(name, 'absent')} (here {now.get(name, 'absent')})" for name in changed)
        return (f"the stored LQ set was made with other library versions: {', '.join(texts)}",)

    @property
    def folder(self) -> Path:
        """The folder that holds this clip's sets, one for each GT."""
        return self.generation.root / self.set_key.path

    def stored(self) -> StoredSet | None:
        """Return the stored set if it can be found without decoding GT; nothing is made.

        Raises:
            DataError: a set is there and is not as it was generated.
        """
        if self._stored is None:
            gt_hash = self.generation.known_hash(files_state(self.gt))
            return None if gt_hash is None else self._find(gt_hash)
        return self._stored

    def beside(self) -> int:
        """Return how many sets of other GT pixels or frames of this clip lie beside its own."""
        others = (path for path in self.folder.glob("*/") if not path.name.startswith("."))
        return sum(self._stored is None or path != self._stored.folder for path in others)

    def ensure(self, progress: Progress | None = None) -> StoredSet:
        """Return the stored set, made now if it is not there.

        Args:
            progress: told of the frames made.

        Raises:
            DataError: the stored set was changed, or GT changed while it was read.
            ResultError: the folder cannot be written, or the disk is full.
        """
        with self._lock:
            if self._stored is None:
                state = files_state(self.gt)
                gt_hash = self.generation.known_hash(state)
                if gt_hash is None:
                    gt_hash = _pixel_hash(self.gt)
                self._stored = self._find(gt_hash) or self._make(gt_hash, progress)
                if self.generation.known_hash(state) is None:
                    self._remember(state, gt_hash)
            return self._stored

    def _find(self, gt_hash: str) -> StoredSet | None:
        """Open the set of the GT with ``gt_hash``, if there is one, and check that it is what would be made."""
        folder = self.folder / gt_hash[:12]
        if not os.path.lexists(folder):
            return None
        stored = load_set(folder)
        record = stored.record
        wanted = (self.set_key, gt_hash, digest(self._recipe()), len(self.gt), (self.height, self.width))
        found = (record.key, record.gt_hash, record.recipe_hash, record.frames, record.lq_size)
        if found != wanted:
            parts = ("key", "GT hash", "recipe", "number of frames", "LQ size")
            raise DataError(
                f"the stored LQ set '{folder}' is not the one that belongs there",
                got="another " + " and ".join(p for p, a, b in zip(parts, found, wanted, strict=True) if a != b),
                accepted=f"the set of '{self.name}' under {self.set_key.path.parts[0]}, as this version makes it",
                action="move that folder away to have the set made again; nothing is overwritten",
            )
        return stored

    def _make(self, gt_hash: str, progress: Progress | None) -> StoredSet:
        with set_lock(self.folder):
            # Another process may have made it while this one waited.
            found = self._find(gt_hash)
            if found is not None:
                return found
            for left in self.folder.glob(f"{TEMPORARY_PREFIX}*"):  # of a killed process: nobody else is at work here
                shutil.rmtree(left, ignore_errors=True)
            folder = self.folder / gt_hash[:12]
            recipe = self._recipe()
            with atomic_folder(folder) as temporary:
                write_json(temporary / RECIPE_FILE, recipe)
                digests = self._write_frames(temporary / FRAMES_FOLDER, recipe, gt_hash, progress)
                record = self._record(gt_hash, digest(recipe), digests)
                write_json(temporary / RECORD_FILE, record.model_dump(mode="json"))
            self.made = True
            return load_set(folder)

    def _write_frames(self, folder: Path, recipe: Any, gt_hash: str, progress: Progress | None) -> list[bytes]:
        """Degrade GT block by block into PNG files; returns the digest of every LQ frame."""
        gt = HashedClip(self.gt)
        digests: list[bytes] = []
        with open_writer(folder, "png", self.height, self.width) as writer:
            for block in self.degradation.apply(recipe, gt.blocks(BLOCK)):
                writer.write(block)
                digests.extend(digest_of(frame) for frame in block)
                if progress is not None:
                    progress(len(digests), len(self))
            if gt.pixel_hash() != gt_hash:
                raise DataError(
                    f"clip '{self.name}': the ground truth changed while its LQ set was made",
                    got=f"pixel hash {gt.pixel_hash()[:12]}… instead of {gt_hash[:12]}…",
                    action="run the same command again when nothing writes to the dataset",
                )
            if len(digests) != len(self):
                raise DataError(
                    f"degradation '{self.degradation.id}' changed the number of frames of clip '{self.name}'",
                    got=f"{len(digests)} LQ frames of {len(self)} GT frames",
                    accepted="one LQ frame for each GT frame",
                )
        return digests

    def _record(self, gt_hash: str, recipe_hash: str, digests: Sequence[bytes]) -> SetRecord:
        key = self.set_key
        return SetRecord(
            degradation=key.degradation,
            version=key.version,
            scale=key.scale,
            seed=key.seed,
            dataset=key.dataset,
            clip=key.clip,
            describe=self.degradation.describe,
            frames=len(self),
            gt_size=(self.gt.height, self.gt.width),
            lq_size=(self.height, self.width),
            gt_hash=gt_hash,
            recipe_hash=recipe_hash,
            lq_hash=clip_hash(digests),
            lq_frames=tuple(frame.hex() for frame in digests),
            libraries=self.degradation.libraries(),
            cpu=cv2.getCPUFeaturesLine(),
            code=stvsr_bench.__version__,
        )

    def _recipe(self) -> Any:
        """Draw the recipe, in the form that it has when it is read back."""
        key, size = self.set_key, (self.gt.height, self.gt.width)
        recipe = self.degradation.sample(key.dataset, key.clip, len(self.gt), size, key.scale, key.seed)
        return json.loads(canonical_json(recipe))

    def _remember(self, state: str | None, gt_hash: str) -> None:
        try:
            self.generation.remember_hash(state, gt_hash)
        except ResultError:
            return  # only a shortcut; the sets themselves may lie in a folder that cannot be written


def _pixel_hash(clip: Clip) -> str:
    return clip_hash(digest_of(frame) for block in clip.blocks(BLOCK) for frame in block)
