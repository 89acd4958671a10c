"""Stored LQ sets: where they lie, what their records say, and reading them only as they were made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stvsr_bench.core.errors import BenchError, DataError, ResultError
from stvsr_bench.core.hashing import clip_hash, digest
from stvsr_bench.core.locks import file_lock
from stvsr_bench.core.slug import slug
from stvsr_bench.video.clip import Clip, Frames
from stvsr_bench.video.hashed import digest_of
from stvsr_bench.video.images import ImageArray, read_image

FRAMES_FOLDER, RECIPE_FILE, RECORD_FILE = "frames", "recipe.json", "set.json"

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(min_length=1)]
Size = tuple[Count, Count]


@dataclass(frozen=True)
class SetKey:
    """What fixes the recipe of one clip, besides the clip's frames and size.

    Attributes:
        degradation: its id.
        version: its version.
        scale: spatial factor φs.
        seed: the protocol's ``degradation_seed``.
        dataset: the dataset's name without variant.
        clip: the clip's name on the dataset's card, so that renamed copies get the same recipe.
    """

    degradation: str
    version: int
    scale: int
    seed: int
    dataset: str
    clip: str

    @property
    def path(self) -> Path:
        """Folder, below the root of all sets, that holds the sets of this key: one for each GT."""
        kind = f"{self.degradation}@{self.version}-x{self.scale}-seed{self.seed}"
        return Path(slug(kind)) / slug(self.dataset) / slug(self.clip)


class SetRecord(BaseModel):
    """What ``set.json`` says of one clip's LQ frames.

    Attributes:
        schema_version: of this file.
        degradation: id of the degradation, as all of :class:`SetKey`.
        describe: the degradation in words, with the choices that move a pixel.
        frames: how many frames GT and LQ have.
        gt_size: rows and columns of GT.
        lq_size: rows and columns of LQ.
        gt_hash: pixel hash of the GT clip.
        recipe_hash: hash of the recipe's canonical JSON.
        lq_hash: pixel hash of the LQ clip.
        lq_frames: digest of every LQ frame, in order.
        libraries: versions of the libraries that can move a pixel.
        cpu: instruction sets of the machine; float filters may differ in the last bit between them.
        code: version of this program.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    degradation: Name
    version: Count
    scale: Count
    seed: Annotated[int, Field(ge=0)]
    dataset: Name
    clip: Name
    describe: str
    frames: Count
    gt_size: Size
    lq_size: Size
    gt_hash: Hash
    recipe_hash: Hash
    lq_hash: Hash
    lq_frames: tuple[Hash, ...]
    libraries: dict[str, str]
    cpu: str
    code: str

    @property
    def key(self) -> SetKey:
        """What the set was made for."""
        return SetKey(self.degradation, self.version, self.scale, self.seed, self.dataset, self.clip)

    @property
    def path(self) -> Path:
        """The set's folder below the root of all sets."""
        return self.key.path / self.gt_hash[:12]

    @property
    def id(self) -> str:
        """Hash of all that the record says."""
        return digest(self.model_dump(mode="json"))


@dataclass(frozen=True)
class StoredSet:
    """One clip's LQ frames on disk, whole, as their record says.

    Attributes:
        folder: holds ``frames/``, ``recipe.json`` and ``set.json``.
        record: what ``set.json`` says.
        recipe: every parameter that the degradation used.
    """

    folder: Path
    record: SetRecord
    recipe: Mapping[str, Any]

    def frame_path(self, index: int) -> Path:
        """Return the PNG file of one frame."""
        return self.folder / FRAMES_FOLDER / f"{index:08d}.png"

    def clip(self) -> StoredClip:
        """Return the LQ frames as a clip."""
        return StoredClip(self)

    def verify(self) -> None:
        """Decode every frame and compare it with its digest.

        Raises:
            DataError: a frame is not what was generated.
        """
        clip = self.clip()
        for index in range(len(clip)):
            clip.read([index])


class StoredClip(Clip):
    """The frames of a stored set; each is compared with its digest whenever it is decoded."""

    def __init__(self, stored: StoredSet) -> None:
        self.stored = stored
        self.name = stored.record.clip
        self.height, self.width = stored.record.lq_size

    def __len__(self) -> int:
        return self.stored.record.frames

    def read(self, indices: Sequence[int]) -> Frames:
        frames = np.empty((len(indices), 3, self.height, self.width), np.uint8)
        for position, index in enumerate(indices):
            frames[position] = self._frame(index)
        return torch.from_numpy(frames)

    def files(self) -> Sequence[str]:
        return [str(self.stored.frame_path(index)) for index in range(len(self))]

    @property
    def key(self) -> str:
        return f"generated@1 {self.stored.record.lq_hash}"

    def _frame(self, index: int) -> ImageArray:
        path = self.stored.frame_path(index)
        try:
            image, _ = read_image(path)
        except BenchError as error:
            raise _spoilt(self.stored.folder, str(error)) from error
        found = digest_of(image).hex()
        if found != self.stored.record.lq_frames[index]:
            raise _spoilt(self.stored.folder, f"other pixels in '{path.name}' (hash {found[:12]}…)")
        return image


def load_set(folder: Path) -> StoredSet:
    """Open a stored set and check all that needs no decoding: its recipe, its hashes, its number of frames.

    Raises:
        DataError: a file is missing, damaged, of another version, or was edited.
    """
    recipe = _json(folder, RECIPE_FILE)
    try:
        record = SetRecord.model_validate(_json(folder, RECORD_FILE), strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise _spoilt(folder, f"{RECORD_FILE}: {where}: {first['msg']}") from error
    if digest(recipe) != record.recipe_hash:
        raise _spoilt(folder, f"{RECIPE_FILE} does not have the hash that {RECORD_FILE} states")
    if clip_hash(bytes.fromhex(frame) for frame in record.lq_frames) != record.lq_hash:
        raise _spoilt(folder, f"the frame hashes in {RECORD_FILE} do not give its clip hash")
    try:
        there = sum(1 for path in (folder / FRAMES_FOLDER).iterdir() if path.suffix == ".png")
    except OSError as error:
        raise _spoilt(folder, f"{FRAMES_FOLDER}: {error.strerror}") from error
    if not there == len(record.lq_frames) == record.frames:
        raise _spoilt(folder, f"{there} PNG files, {len(record.lq_frames)} hashes, {record.frames} frames stated")
    return StoredSet(folder, record, recipe)


@contextmanager
def set_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of one clip's sets, which lie in ``folder``, so that one process at a time adds to them.

    Raises:
        ResultError: the folder cannot be written.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(file_lock(folder / ".lock"))
        except OSError as error:
            raise ResultError(
                f"LQ sets cannot be stored in '{folder}'",
                got=error.strerror or str(error),
                accepted="a writable folder with free space",
                action="make it writable, or set $STVSR_BENCH_DATA to another folder",
            ) from error
        yield


def _json(folder: Path, name: str) -> Any:
    try:
        return json.loads((folder / name).read_text(encoding="utf-8"))
    except OSError as error:
        raise _spoilt(folder, f"{name}: {error.strerror}") from error
    except ValueError as error:
        raise _spoilt(folder, f"{name} is not valid JSON: {error}") from error


def _spoilt(folder: Path, got: str) -> DataError:
    return DataError(
        f"the stored LQ set '{folder}' is not as it was generated",
        got=got,
        accepted="the files exactly as they were written",
        action="bring the files back (or import the set again), or delete that folder to have the set made again; "
        "nothing is overwritten",
    )
