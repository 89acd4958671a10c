"""Handing generated LQ sets to other groups: one folder that holds them whole, with hashes of everything."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from stvsr_bench.core.atomic import atomic_folder, write_json
from stvsr_bench.core.errors import DataError
from stvsr_bench.core.hashing import digest
from stvsr_bench.data.agreement import compare_sets
from stvsr_bench.data.generated import generated_root
from stvsr_bench.data.generated_store import (
    FRAMES_FOLDER,
    RECIPE_FILE,
    RECORD_FILE,
    SetRecord,
    StoredSet,
    load_set,
    set_lock,
)

MANIFEST_FILE = "manifest.json"
MANIFEST_VERSION = 1


class Manifest(BaseModel):
    """What ``manifest.json`` of an exported folder says.

    Attributes:
        manifest_version: of this file.
        id: hash of ``sets``, the same whoever exports them and in whatever order.
        sets: the record of every set, sorted by path.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    manifest_version: Literal[1] = 1
    id: str
    sets: tuple[SetRecord, ...]

    @classmethod
    def of(cls, records: Iterable[SetRecord]) -> Manifest:
        """Return the manifest of some sets."""
        ordered = tuple(sorted(records, key=lambda record: record.path.as_posix()))
        return cls(id=_id(ordered), sets=ordered)


@dataclass(frozen=True)
class Imported:
    """What became of one set of an imported folder.

    Attributes:
        stored: the set below the root of all sets.
        action: ``imported``, or ``present`` where a set with the same pixels was there already.
    """

    stored: StoredSet
    action: Literal["imported", "present"]


def export_sets(sets: Iterable[StoredSet], folder: Path) -> Manifest:
    """Write ``sets`` into a new folder that others can import; every frame is compared with its hash on the way.

    Args:
        sets: stored sets of any degradations and datasets, in any order.
        folder: does not exist yet, or is empty, or holds the same export.

    Raises:
        DataError: a stored set was changed, ``folder`` holds something else, or there is nothing to export.
        ResultError: the folder cannot be written.
    """
    unique = {stored.record.path: stored for stored in sets}
    if not unique:
        raise DataError("there is no LQ set to export", action="choose a protocol that generates LQ sets clip by clip")
    manifest = Manifest.of(stored.record for stored in unique.values())
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if (folder / MANIFEST_FILE).is_file() and read_export(folder)[0].id == manifest.id:
            return manifest
        raise DataError(
            f"'{folder}' cannot take the export",
            got="a file, or a folder that is not empty and holds another or a changed export",
            accepted="a new folder",
            action="choose another one; nothing is overwritten",
        )
    with atomic_folder(folder) as temporary:
        for path, stored in unique.items():
            stored.verify()
            copy_set(stored, temporary / path)
        write_json(temporary / MANIFEST_FILE, manifest.model_dump(mode="json"))
    return manifest


def read_export(folder: Path) -> tuple[Manifest, list[StoredSet]]:
    """Read an exported folder and compare everything in it with its hashes, every pixel included.

    Raises:
        DataError: it is no export, of another version, incomplete, or was edited.
    """
    manifest = _manifest(folder)
    if _id(manifest.sets) != manifest.id:
        raise _edited(folder, f"{MANIFEST_FILE} does not have the id that it states")
    found = []
    for record in manifest.sets:
        try:
            stored = load_set(folder / record.path)
            stored.verify()
        except DataError as error:
            raise _edited(folder, f"in {record.path}: {error.got}") from error
        if stored.record != record:
            raise _edited(folder, f"{record.path / RECORD_FILE} and {MANIFEST_FILE} differ")
        found.append(stored)
    return manifest, found


def import_sets(folder: Path, root: Path | None = None) -> list[Imported]:
    """Take over the sets of an exported folder, so that protocols that generate them read them instead.

    Everything is checked before anything is copied. A set that is there with the same pixels stays as it is.

    Args:
        folder: what :func:`export_sets` wrote, here or elsewhere.
        root: folder of all generated sets; default: ``generated`` in the data root.

    Raises:
        DataError: the export was edited or is of another version; or a set of other pixels is there already.
        ResultError: the sets cannot be written.
    """
    root = generated_root() if root is None else root
    _, incoming = read_export(folder)
    for stored in incoming:
        _check_place(stored, root)
    done: list[Imported] = []
    for stored in incoming:
        target = root / stored.record.path
        with set_lock(target.parent):
            action: Literal["imported", "present"] = "present"
            if not _check_place(stored, root):
                copy_set(stored, target)
                action = "imported"
        done.append(Imported(load_set(target), action))
    return done


def copy_set(stored: StoredSet, target: Path) -> None:
    """Copy a set's own files, and no others, to ``target``, whole or not at all."""
    with atomic_folder(target) as temporary:
        (temporary / FRAMES_FOLDER).mkdir()
        for index in range(stored.record.frames):
            source = stored.frame_path(index)
            _copy(source, temporary / FRAMES_FOLDER / source.name)
        for name in (RECIPE_FILE, RECORD_FILE):
            _copy(stored.folder / name, temporary / name)


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as original, target.open("wb") as copy:
        shutil.copyfileobj(original, copy)
        copy.flush()
        os.fsync(copy.fileno())


def _check_place(stored: StoredSet, root: Path) -> bool:
    """Return whether the same set is there; raise where another one is."""
    target = root / stored.record.path
    if not os.path.lexists(target):
        return False
    there = load_set(target)
    if there.record.lq_hash == stored.record.lq_hash and there.record.recipe_hash == stored.record.recipe_hash:
        return True
    raise DataError(
        f"an LQ set with other pixels is there already: '{target}'",
        got=f"LQ hash {stored.record.lq_hash[:12]}… in the import, {there.record.lq_hash[:12]}… there; "
        + compare_sets(stored, there).text,
        accepted="equal pixels, or no set at that place",
        action="move that folder away to use the imported set; nothing is overwritten",
    )


def _manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"'{folder}' is no exported folder of LQ sets",
            got=f"{MANIFEST_FILE}: {error.strerror}",
            accepted="a folder that `stvsr-bench prepare … --export DIR` wrote",
        ) from error
    except ValueError as error:
        raise _edited(folder, f"{MANIFEST_FILE} is not valid JSON: {error}") from error
    version = content.get("manifest_version") if isinstance(content, dict) else None
    if version != MANIFEST_VERSION:
        raise DataError(
            f"'{path}' is of another version",
            got=f"manifest_version {version!r}",
            accepted=str(MANIFEST_VERSION),
            action="export the sets again with this version of stvsr-bench, or use the one that wrote them",
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise _edited(folder, f"{MANIFEST_FILE}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _id(records: Iterable[SetRecord]) -> str:
    return digest([record.model_dump(mode="json") for record in records])


def _edited(folder: Path, got: str) -> DataError:
    return DataError(
        f"the export '{folder}' is not as it was written",
        got=got,
        accepted="the files exactly as `stvsr-bench prepare … --export DIR` wrote them",
        action="get it again from those who made it; nothing was imported",
    )
