"""Exported LQ sets: whole, the same for everyone, refused when edited; and how far two makings agree."""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # for the helpers beside the tests

from generated_helpers import Fading, fading, write_frames

from stvsr_bench.core.errors import DataError
from stvsr_bench.core.hashing import digest
from stvsr_bench.data.agreement import SAME_RECIPE_DB, Agreement, compare_sets, reproduce
from stvsr_bench.data.exchange import MANIFEST_FILE, Manifest, export_sets, import_sets, read_export
from stvsr_bench.data.generated_store import StoredSet, load_set
from stvsr_bench.video.clip import ArrayClip
from stvsr_bench.video.frames import FrameFolderClip


@pytest.fixture
def made(tmp_path: Path) -> list[StoredSet]:
    """Two clips under two seeds, in the sets of one group."""
    gts = [write_frames(tmp_path / "gt" / name, frames=3 + i, seed=i) for i, name in enumerate(("a nt", "..bee"))]
    return [fading(gt, tmp_path / "ours", seed=seed).ensure() for gt in gts for seed in (0, 1)]


def files(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder`` but locks and shortcuts."""
    found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {str(name): path.read_bytes() for name, path in found.items() if not any(p[0] == "." for p in name.parts)}


def test_an_export_travels(made: list[StoredSet], tmp_path: Path) -> None:
    manifest = export_sets(made, tmp_path / "export")
    assert len(manifest.sets) == 4
    shutil.rmtree(tmp_path / "ours")
    moved = (tmp_path / "export").rename(tmp_path / "carried over")
    done = import_sets(moved, tmp_path / "theirs")
    assert [item.action for item in done] == ["imported"] * 4
    assert {item.stored.record.id for item in done} == {stored.record.id for stored in made}
    clip = fading(tmp_path / "gt" / "a nt", tmp_path / "theirs")
    again = fading(tmp_path / "gt" / "a nt", tmp_path / "again")
    assert torch.equal(clip[:], again[:])
    assert (clip.made, again.made) == (False, True)
    before = files(tmp_path / "theirs")
    assert [item.action for item in import_sets(moved, tmp_path / "theirs")] == ["present"] * 4
    assert files(tmp_path / "theirs") == before
    assert {name: data for name, data in files(moved).items() if name != MANIFEST_FILE} == before


def test_the_order_of_an_export_does_not_matter(made: list[StoredSet], tmp_path: Path) -> None:
    one, two = export_sets(made, tmp_path / "one"), export_sets([*made[::-1], made[0]], tmp_path / "two")
    assert one == two
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert one.id == digest([record.model_dump(mode="json") for record in one.sets])
    assert export_sets(made[:3], tmp_path / "three").id != one.id


def test_an_export_overwrites_nothing(made: list[StoredSet], tmp_path: Path) -> None:
    export_sets(made, tmp_path / "export")
    before = files(tmp_path / "export")
    assert export_sets(made, tmp_path / "export") == read_export(tmp_path / "export")[0]
    with pytest.raises(DataError, match="nothing is overwritten"):
        export_sets(made[:1], tmp_path / "export")
    assert files(tmp_path / "export") == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for taken in ("mine", "file"):
        with pytest.raises(DataError, match="nothing is overwritten"):
            export_sets(made, tmp_path / taken)
    assert files(tmp_path / "mine") == {"notes.txt": b"precious"}
    (tmp_path / "empty").mkdir()
    export_sets(made, tmp_path / "empty")
    assert files(tmp_path / "empty") == before


def test_there_must_be_something_to_export(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no LQ set"):
        export_sets([], tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_a_changed_set_is_not_exported(made: list[StoredSet], tmp_path: Path) -> None:
    _edit_pixel(made[1].frame_path(2))
    with pytest.raises(DataError, match=r"00000002\.png"):
        export_sets(made, tmp_path / "export")
    assert not (tmp_path / "export").exists()
    assert not list(tmp_path.glob(".tmp-*"))


# ---------------------------------------------------------------- edited by hand


def _edit_pixel(path: Path) -> None:
    image = cv2.imread(str(path))
    image[1, 2, 0] ^= 1
    cv2.imwrite(str(path), image)


def _manifest(folder: Path, **values: Any) -> None:
    path = folder / MANIFEST_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def _first(folder: Path) -> Path:
    return sorted(folder.rglob("set.json"))[0].parent


def _seed_in_manifest(folder: Path) -> None:
    """Edit the manifest and make its own id fit."""
    sets = json.loads((folder / MANIFEST_FILE).read_text())["sets"]
    sets[0]["libraries"] = {"library": "9.9"}
    _manifest(folder, sets=sets, id=digest(sets))


def _everything(folder: Path) -> None:
    """Edit a pixel's hash in every place that states it, but not the frame."""
    first = _first(folder)
    record = json.loads((first / "set.json").read_text())
    record["lq_frames"][0] = record["lq_frames"][1]
    (first / "set.json").write_text(json.dumps(record))


EDITS = {
    "a pixel": (lambda f: _edit_pixel(_first(f) / "frames" / "00000001.png"), "other pixels in '00000001.png'"),
    "a frame lost": (lambda f: (_first(f) / "frames" / "00000001.png").unlink(), "3 PNG files, 4 hashes"),
    "a frame more": (
        lambda f: shutil.copy(_first(f) / "recipe.json", _first(f) / "frames" / "3.png"),
        "5 PNG files",
    ),
    "a set lost": (lambda f: shutil.rmtree(_first(f)), "recipe.json: No such file"),
    "the recipe": (lambda f: (_first(f) / "recipe.json").write_text("{}"), "recipe.json does not have the hash"),
    "the record": (_everything, "do not give its clip hash"),
    "the manifest": (lambda f: _manifest(f, sets=json.loads((f / MANIFEST_FILE).read_text())["sets"][1:]), "the id"),
    "the manifest and its id": (_seed_in_manifest, "set.json and manifest.json differ"),
    "the manifest's id": (lambda f: _manifest(f, id="0" * 64), "the id"),
    "a manifest that is torn": (lambda f: (f / MANIFEST_FILE).write_text('{"manifest'), "not valid JSON"),
    "a manifest with more": (lambda f: _manifest(f, note="x"), "manifest.json: note"),
    "another version": (lambda f: _manifest(f, manifest_version=2), r"another version; got manifest_version 2"),
    "another file": (lambda f: (f / MANIFEST_FILE).write_text("[]"), "another version; got manifest_version None"),
    "no manifest": (lambda f: (f / MANIFEST_FILE).unlink(), "is no exported folder"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_export_is_refused(edit: str, made: list[StoredSet], tmp_path: Path) -> None:
    export_sets(made, tmp_path / "export")
    change, message = EDITS[edit]
    change(tmp_path / "export")
    with pytest.raises(DataError, match=message) as caught:
        import_sets(tmp_path / "export", tmp_path / "theirs")
    assert "delete" not in str(caught.value)
    assert "export" in str(caught.value)
    assert not (tmp_path / "theirs").exists()


def test_a_path_cannot_leave_the_root(made: list[StoredSet]) -> None:
    record = made[0].record.model_copy(update={"dataset": "../../..", "clip": "/etc", "degradation": ".."})
    assert ".." not in record.path.parts
    assert not record.path.is_absolute()
    assert len(record.path.parts) == 4


def test_another_set_is_not_overwritten(made: list[StoredSet], tmp_path: Path) -> None:
    export_sets(made, tmp_path / "export")
    theirs = tmp_path / "theirs"
    import_sets(tmp_path / "export", theirs)
    # what another codec build would have made: one sample differs by one level, and everything says so
    other = load_set(theirs / made[3].record.path)
    shutil.rmtree(other.folder)
    clip = fading(tmp_path / "gt" / "..bee", theirs, seed=1)
    original = clip.degradation.apply
    clip.degradation.apply = lambda recipe, blocks: (b ^ 1 for b in original(recipe, blocks))
    clip.ensure()
    before = files(theirs)
    with pytest.raises(DataError, match=r"other pixels is there already.*48\.1 dB at worst: another recipe"):
        import_sets(tmp_path / "export", theirs)
    assert files(theirs) == before


def test_nothing_is_imported_when_one_set_cannot_be(made: list[StoredSet], tmp_path: Path) -> None:
    export_sets(made, tmp_path / "export")
    target = tmp_path / "theirs" / made[3].record.path
    target.mkdir(parents=True)
    (target / "precious.txt").write_text("mine")
    with pytest.raises(DataError, match="not as it was generated"):
        import_sets(tmp_path / "export", tmp_path / "theirs")
    assert files(tmp_path / "theirs") == {str(made[3].record.path / "precious.txt"): b"mine"}


# ---------------------------------------------------------------- agreement


def test_sets_made_again_agree(made: list[StoredSet], tmp_path: Path) -> None:
    gt = FrameFolderClip(tmp_path / "gt" / "a nt")
    found = reproduce(made[0], gt, Fading())
    assert found == Agreement(3, 3, math.inf, math.inf)
    assert found.text == "all 3 frames identical"
    assert found.same_recipe


def test_a_codec_build_and_another_recipe_are_told_apart(made: list[StoredSet], tmp_path: Path) -> None:
    gt = FrameFolderClip(tmp_path / "gt" / "a nt")

    class Build(Fading):
        """Every 4th column of the last frame is one level off: 10 lg(255² · 4) = 54.15 dB."""

        def apply(self, recipe: Any, blocks: Any) -> Any:
            for number, frame in enumerate(super().apply(recipe, blocks)):
                if number == 2:
                    frame[..., ::4] ^= 1
                yield frame

    found = reproduce(made[0], gt, Build())
    assert (found.frames, found.identical, found.same_recipe) == (3, 2, True)
    assert found.worst == found.mean == pytest.approx(54.1514, abs=1e-3)
    assert "same recipe with another codec or library build" in found.text
    other = compare_sets(made[0], made[1])
    assert other.worst < SAME_RECIPE_DB
    assert not other.same_recipe
    assert other.text.endswith("another recipe")


def test_what_cannot_be_compared(made: list[StoredSet]) -> None:
    with pytest.raises(DataError, match="cannot be compared"):
        compare_sets(made[0], made[2])
    with pytest.raises(DataError, match="not what the LQ set"):
        reproduce(made[0], ArrayClip(torch.zeros(3, 3, 32, 32, dtype=torch.uint8)), Fading())


def test_manifests_sort_their_sets(made: list[StoredSet]) -> None:
    paths = [record.path.as_posix() for record in Manifest.of(stored.record for stored in made[::-1]).sets]
    assert paths == sorted(paths)
    assert len(set(paths)) == 4
