"""Generated LQ sets: made once, whole or absent, read only as they were made."""

from __future__ import annotations

import json
import random
import shutil
import signal
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # for the helpers beside the tests

from generated_helpers import Fading, fading, start_fading, write_frames

from stvsr_bench.core.errors import ConfigError, DataError, ResultError
from stvsr_bench.core.hashing import clip_hash, digest
from stvsr_bench.data.apply import apply_protocol, makes_sets
from stvsr_bench.data.factory import build_dataset
from stvsr_bench.data.generate import Made, generate
from stvsr_bench.data.generated import GeneratedClip, Generation
from stvsr_bench.data.generated_store import StoredSet, load_set
from stvsr_bench.data.protocol import load_protocol
from stvsr_bench.data.sample import SourceSample
from stvsr_bench.degradation.registry import DEGRADATIONS
from stvsr_bench.video.clip import ArrayClip, Clip, Frames
from stvsr_bench.video.frames import FrameFolderClip
from stvsr_bench.video.hashed import digest_of
from stvsr_bench.video.prefetch import PrefetchClip


@pytest.fixture
def gt(tmp_path: Path) -> Path:
    """Nine frames of 48×32."""
    return write_frames(tmp_path / "gt" / "ant")


def lq_of(gt: Path, seed: int = 0) -> Frames:
    """What :class:`Fading` makes of a folder, without any set."""
    degradation, clip = Fading(), FrameFolderClip(gt)
    recipe = degradation.sample("tiny", "ant", len(clip), (clip.height, clip.width), 4, seed)
    return torch.cat(list(degradation.apply(recipe, clip.blocks(4))))


# ---------------------------------------------------------------- making and reading


def test_size_is_known_and_nothing_made_before_the_first_read(gt: Path, tmp_path: Path) -> None:
    clip = fading(gt, tmp_path / "sets")
    assert (len(clip), clip.height, clip.width) == (9, 8, 12)
    assert clip.stored() is None
    assert clip.files() == FrameFolderClip(gt).files()
    assert clip.notes == ()
    assert not (tmp_path / "sets").exists()


def test_a_read_makes_the_whole_set(gt: Path, tmp_path: Path) -> None:
    clip = fading(gt, tmp_path / "sets")
    unread = clip.key
    assert torch.equal(clip.read([8, 2]), lq_of(gt)[[8, 2]])
    assert clip.made
    stored = clip.stored()
    assert stored is not None
    record = stored.record
    digests = [digest_of(frame) for frame in lq_of(gt)]
    assert record.lq_frames == tuple(value.hex() for value in digests)
    assert record.lq_hash == clip_hash(digests)
    assert record.gt_hash == clip_hash(digest_of(frame) for frame in FrameFolderClip(gt)[:])
    assert (
        record.recipe_hash == digest(stored.recipe) == digest(json.loads((stored.folder / "recipe.json").read_text()))
    )
    assert (record.frames, record.gt_size, record.lq_size) == (9, (32, 48), (8, 12))
    assert (record.libraries, record.describe) == ({"library": "1.0"}, Fading.describe)
    assert stored.folder == tmp_path / "sets" / "fading@1-x4-seed0" / "tiny" / "ant" / record.gt_hash[:12]
    assert clip.files() == [str(path) for path in sorted((stored.folder / "frames").iterdir())]
    assert clip.key != unread
    assert record.lq_hash in clip.key


def test_a_stored_set_is_reused_without_decoding_gt(gt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = fading(gt, tmp_path / "sets")[:]
    monkeypatch.setattr(FrameFolderClip, "read", _not_called)
    again = fading(gt, tmp_path / "sets")
    assert again.stored() is not None
    assert torch.equal(again[:], expected)
    assert not again.made


def _not_called(*_: object) -> None:
    raise AssertionError("GT was decoded")


def test_a_copy_of_gt_shares_the_set(gt: Path, tmp_path: Path) -> None:
    fading(gt, tmp_path / "sets").ensure()
    copy = shutil.copytree(gt, tmp_path / "elsewhere" / "ant", copy_function=shutil.copyfile)
    clip = fading(copy, tmp_path / "sets")
    assert clip.stored() is None  # nothing tells before its pixels were hashed
    clip.ensure()
    assert not clip.made
    assert fading(copy, tmp_path / "sets").stored() is not None


def test_a_renamed_copy_gets_the_same_recipe_and_set(gt: Path, tmp_path: Path) -> None:
    made = fading(gt, tmp_path / "sets").ensure()
    degradation = Fading()
    generation = Generation("tiny", tmp_path / "sets", {"000": "ant"})
    clip = GeneratedClip(FrameFolderClip(gt), degradation, 4, 0, generation, "000")
    assert clip.ensure().record == made.record
    assert (clip.name, clip.made) == ("000", False)


def test_what_differs_has_a_set_of_its_own(gt: Path, tmp_path: Path) -> None:
    root = tmp_path / "sets"
    clips = [
        fading(gt, root),
        fading(gt, root, seed=1),
        fading(gt, root, version=2),
        fading(gt, root, dataset="other"),
        fading(gt, root, name="bee"),
        fading(FrameFolderClip(gt).select(range(5)), root),
    ]
    assert all(clip.ensure() and clip.made for clip in clips)
    assert len({clip.ensure().folder for clip in clips}) == len(clips)


def test_changed_gt_gets_a_new_set(gt: Path, tmp_path: Path) -> None:
    old = fading(gt, tmp_path / "sets").ensure()
    image = cv2.imread(str(gt / "0000.png"))
    cv2.imwrite(str(gt / "0000.png"), 255 - image)
    clip = fading(gt, tmp_path / "sets")
    assert clip.ensure().folder != old.folder
    assert clip.made
    assert load_set(old.folder).record == old.record


def test_names_of_any_kind(tmp_path: Path) -> None:
    gt = write_frames(tmp_path / "gt", frames=2)
    names = ("a b", "..", "a.b", ".hidden", "ä/ö", "a-b")
    made = [fading(gt, tmp_path / "sets", name=name, dataset="..").ensure() for name in names]
    assert len({stored.folder for stored in made}) == len(names)
    base = tmp_path / "sets" / "fading@1-x4-seed0"
    assert all(stored.folder.resolve().is_relative_to(base) for stored in made)
    assert [stored.record.clip for stored in made] == list(names)


def test_a_prefetching_reader_in_two_threads_makes_it_once(gt: Path, tmp_path: Path) -> None:
    clip = fading(gt, tmp_path / "sets", pause=0.01)
    original, times = clip.degradation.apply, []
    clip.degradation.apply = lambda *given: times.append(1) or original(*given)
    seen: list[Frames] = []
    with PrefetchClip(clip) as ahead:
        view = ahead.select(range(0, 9, 2))
        threads = [threading.Thread(target=lambda: seen.append(view[:])) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all(torch.equal(frames, lq_of(gt)[::2]) for frames in seen)
    assert len(seen) == 2
    assert len(times) == 1


def test_memory_does_not_grow_with_frames(tmp_path: Path) -> None:
    alive, most = 0, 0

    class Counted(Clip):
        name, height, width = "long", 32, 48

        def __len__(self) -> int:
            return 200

        def read(self, indices: Sequence[int]) -> Frames:
            nonlocal alive, most
            pixels = np.full((len(indices), 3, 32, 48), indices[0] % 256, np.uint8)
            weakref.finalize(pixels, self.drop, len(indices))
            alive += len(indices)
            most = max(most, alive)
            return torch.from_numpy(pixels)

        @staticmethod
        def drop(frames: int) -> None:
            nonlocal alive
            alive -= frames

    assert len(fading(Counted(), tmp_path / "sets").ensure().clip()) == 200
    assert 8 <= most <= 24


# ---------------------------------------------------------------- whole or absent


def test_killed_again_and_again(gt: Path, tmp_path: Path) -> None:
    calm = fading(gt, tmp_path / "calm").ensure()
    root, dice, inside = tmp_path / "sets", random.Random(0), 0
    folder = root / calm.record.key.path
    for _ in range(3):
        before = set(folder.glob(".tmp-*"))
        process = start_fading(gt, root, 0.1)
        deadline = time.monotonic() + 60
        while not (new := set(folder.glob(".tmp-*")) - before) or not list(next(iter(new)).rglob("*.png")):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(dice.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        inside += process.returncode == -signal.SIGKILL
        assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == set()
        assert fading(gt, root).stored() is None
    assert inside == 3
    clip = fading(gt, root)
    assert clip.ensure().record == calm.record
    assert clip.made
    assert not list(root.rglob(".tmp-*"))


def test_two_processes_make_it_once(gt: Path, tmp_path: Path) -> None:
    both = [start_fading(gt, tmp_path / "sets", 0.15) for _ in range(2)]
    texts = [process.communicate(timeout=120)[0].split() for process in both]
    assert sorted(text[1] for text in texts) == ["False", "True"], texts
    assert texts[0][0] == texts[1][0] == clip_hash(digest_of(frame) for frame in lq_of(gt))


def test_nothing_is_kept_of_a_failed_generation(gt: Path, tmp_path: Path) -> None:
    (gt / "0005.png").write_bytes(b"damaged")
    clip = fading(gt, tmp_path / "sets")
    with pytest.raises(Exception, match="0005"):
        clip.ensure()
    assert not [path for path in (tmp_path / "sets").rglob("*") if path.is_file()]


def test_gt_that_changes_while_it_is_read(gt: Path, tmp_path: Path) -> None:
    clip = fading(gt, tmp_path / "sets", pause=0.02)

    def change(done: int, _: int) -> None:
        if done == 1:
            shutil.copyfile(gt / "0001.png", gt / "0008.png")

    with pytest.raises(DataError, match="changed while"):
        clip.ensure(change)
    assert clip.stored() is None
    assert not list((tmp_path / "sets").rglob("set.json"))


def test_a_folder_that_cannot_be_written(gt: Path, tmp_path: Path) -> None:
    (tmp_path / "sets").write_text("a file")
    with pytest.raises(ResultError, match=r"cannot be stored.*STVSR_BENCH_DATA"):
        fading(gt, tmp_path / "sets").ensure()


# ---------------------------------------------------------------- changed sets


def _edit_frame(stored: StoredSet) -> None:
    path = stored.frame_path(3)
    image = cv2.imread(str(path))
    image[0, 0, 0] ^= 1
    cv2.imwrite(str(path), image)


def _edit_json(name: str, **values: object) -> object:
    def edit(stored: StoredSet) -> None:
        path = stored.folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return edit


CHANGES = {
    "a pixel": (_edit_frame, "other pixels in '00000003.png'"),
    "a frame lost": (lambda s: s.frame_path(8).unlink(), "8 PNG files"),
    "a frame more": (lambda s: shutil.copy(s.frame_path(8), s.folder / "frames" / "00000009.png"), "10 PNG files"),
    "a frame cut": (lambda s: s.frame_path(3).write_bytes(s.frame_path(3).read_bytes()[:50]), "truncated"),
    "the recipe": (_edit_json("recipe.json", mix=0.2), "recipe.json does not have the hash"),
    "no recipe": (lambda s: (s.folder / "recipe.json").unlink(), "recipe.json: No such file"),
    "the hash": (_edit_json("set.json", lq_hash="0" * 64), "do not give its clip hash"),
    "the record": (_edit_json("set.json", frames=0), "set.json: frames"),
    "a newer record": (_edit_json("set.json", schema_version=2), "set.json: schema_version"),
    "a torn record": (lambda s: (s.folder / "set.json").write_text("{"), "not valid JSON"),
    "another clip's": (_edit_json("set.json", clip="bee"), "another key"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_set_is_refused_and_not_touched(change: str, gt: Path, tmp_path: Path) -> None:
    stored = fading(gt, tmp_path / "sets").ensure()
    edit, message = CHANGES[change]
    edit(stored)
    before = {path: path.stat().st_mtime_ns for path in stored.folder.rglob("*")}
    with pytest.raises(DataError, match=message) as caught:
        fading(gt, tmp_path / "sets")[:]
    assert "nothing is overwritten" in str(caught.value)
    assert str(stored.folder) in str(caught.value)
    assert {path: path.stat().st_mtime_ns for path in stored.folder.rglob("*")} == before


def test_a_set_of_another_recipe_is_refused(gt: Path, tmp_path: Path) -> None:
    stored = fading(gt, tmp_path / "sets").ensure()
    recipe = {**stored.recipe, "mix": 0.2}
    (stored.folder / "recipe.json").write_text(json.dumps(recipe))
    _edit_json("set.json", recipe_hash=digest(recipe))(stored)
    with pytest.raises(DataError, match="another recipe"):
        fading(gt, tmp_path / "sets").ensure()


def test_other_library_versions_are_a_note(gt: Path, tmp_path: Path) -> None:
    fading(gt, tmp_path / "sets").ensure()
    clip = fading(gt, tmp_path / "sets", library="2.0")
    clip.ensure()
    assert clip.notes == ("the stored LQ set was made with other library versions: library 1.0 (here 2.0)",)
    assert fading(gt, tmp_path / "sets").notes == ()


# ---------------------------------------------------------------- protocols


def sources(folder: Path, names: Sequence[str] = ("ant", "bee", "cat")) -> list[SourceSample]:
    for seed, name in enumerate(names):
        write_frames(folder / name, frames=6 + 16 * seed, seed=seed)
    return [SourceSample(name, gt=FrameFolderClip(folder / name)) for name in names]


def test_only_degradations_of_whole_clips_make_sets() -> None:
    assert [name for name in ("bi-x4", "bd-x4", "gt-t2", "given-x4") if makes_sets(load_protocol(name))] == []
    assert makes_sets(load_protocol("diffst-x4t4"))


@pytest.mark.parametrize("name", ["diffst-x4t4", "ultravsr-x4"])
def test_space_is_degraded_at_full_rate(name: str, tmp_path: Path) -> None:
    source = SourceSample("ant", gt=FrameFolderClip(write_frames(tmp_path / "ant")))
    protocol = load_protocol(name)
    sample = apply_protocol(protocol, source, generation=Generation("tiny", tmp_path / "sets"))
    assert sample.generated is not None
    assert sample.generated.stored() is None
    degradation = DEGRADATIONS[str(protocol.degradation)]
    assert not degradation.per_frame
    recipe = degradation.sample("tiny", "ant", 9, (32, 48), 4, 0)
    assert source.gt is not None
    whole = torch.cat(list(degradation.apply(recipe, source.gt.blocks(9))))
    assert torch.equal(sample.lq[:], whole[:: protocol.time_scale])
    assert len(sample.generated) == 9
    assert sample.scored == range(9)


def test_wrapped_clips_are_read_through(tmp_path: Path) -> None:
    source = SourceSample("ant", gt=FrameFolderClip(write_frames(tmp_path / "ant")))
    wrapped: list[PrefetchClip] = []

    def wrap(clip: Clip) -> Clip:
        wrapped.append(PrefetchClip(clip))
        return wrapped[-1]

    protocol = load_protocol("diffst-x4t4")
    sample = apply_protocol(protocol, source, wrap, Generation("tiny", tmp_path / "sets"))
    bare = apply_protocol(protocol, source, generation=Generation("tiny", tmp_path / "other"))
    assert torch.equal(sample.lq[:], bare.lq[:])
    assert [clip.source for clip in wrapped] == [source.gt, sample.generated]
    for clip in wrapped:
        clip.close()


def test_a_place_for_sets_is_needed(tmp_path: Path) -> None:
    source = SourceSample("ant", gt=FrameFolderClip(write_frames(tmp_path / "ant", frames=1)))
    with pytest.raises(ConfigError, match="stored"):
        apply_protocol(load_protocol("diffst-x4t4"), source)


def test_generation_of_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STVSR_BENCH_DATA", str(tmp_path / "data"))
    for name in ("000", "002", "extra"):
        write_frames(tmp_path / "copy" / "GT" / name, frames=1)
    generation = Generation.of(build_dataset("udm10", {"root": str(tmp_path / "copy")}))
    assert (generation.dataset, generation.root) == ("udm10", tmp_path / "data" / "generated")
    assert generation.names == {"000": "archpeople", "002": "auditorium"}


# ---------------------------------------------------------------- many clips


def records(folder: Path) -> dict[str, bytes]:
    """Record and recipe of every set below ``folder``."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.json"))}


def test_workers_and_order_do_not_matter(tmp_path: Path) -> None:
    clips, protocol = sources(tmp_path / "gt"), load_protocol("diffst-x4t4")
    made = generate(Generation("tiny", tmp_path / "one"), clips, protocol)
    assert [(m.clip, m.action, m.error) for m in made] == [(name, "made", None) for name in ("ant", "bee", "cat")]
    told: list[Made] = []
    two = generate(Generation("tiny", tmp_path / "two"), clips[::-1], protocol, workers=2, listen=told.append)
    assert [m.clip for m in two] == ["cat", "bee", "ant"]
    assert sorted(m.clip for m in told) == ["ant", "bee", "cat"]
    assert len(records(tmp_path / "one")) == 6
    assert records(tmp_path / "one") == records(tmp_path / "two")
    alone = generate(Generation("tiny", tmp_path / "alone"), clips[1:2], protocol)
    assert alone[0].stored is not None
    assert made[1].stored is not None
    assert alone[0].stored.record == made[1].stored.record
    assert [m.action for m in generate(Generation("tiny", tmp_path / "one"), clips, protocol)] == ["stored"] * 3
    _edit_frame(made[1].stored)
    again = generate(Generation("tiny", tmp_path / "one"), clips, protocol)
    assert [m.action for m in again] == ["stored", "failed", "stored"]


def test_stored_sets_are_made_again_to_compare(tmp_path: Path) -> None:
    clips, generation = sources(tmp_path / "gt", ["ant"]), Generation("tiny", tmp_path / "sets")
    protocol = load_protocol("diffst-x4t4")
    assert generate(generation, clips, protocol, again=True)[0].agreement is None  # made only now
    before = records(tmp_path / "sets")
    found = generate(generation, clips, protocol, again=True)[0]
    assert (found.action, found.notes) == ("stored", ())
    assert found.agreement is not None
    assert (found.agreement.frames, found.agreement.identical) == (6, 6)
    assert records(tmp_path / "sets") == before
    assert generate(generation, clips, protocol)[0].agreement is None


def test_sets_of_other_gt_are_told_of(tmp_path: Path) -> None:
    generation, protocol = Generation("tiny", tmp_path / "sets"), load_protocol("diffst-x4t4")
    first = generate(generation, sources(tmp_path / "gt", ["ant"]), protocol)[0]
    shorter = SourceSample("ant", gt=FrameFolderClip(tmp_path / "gt" / "ant").select(range(3)))
    other = generate(generation, [shorter], protocol)[0]
    assert (first.action, first.notes, other.action) == ("made", (), "made")
    assert other.notes == ("sets of other pixels or frames of this clip lie beside it: 1",)


@pytest.mark.parametrize("workers", [1, 2])
def test_one_bad_clip_does_not_stop_the_rest(workers: int, tmp_path: Path) -> None:
    clips = sources(tmp_path / "gt")
    (tmp_path / "gt" / "bee" / "0003.png").write_bytes(b"damaged")
    clips.append(SourceSample("dog", errors={"gt": DataError("no such clip", got="nothing")}))
    clips.append(SourceSample("elk", gt=FrameFolderClip(write_frames(tmp_path / "gt" / "elk", size=(32, 50)))))
    made = generate(Generation("tiny", tmp_path / "sets"), clips, load_protocol("diffst-x4t4"), workers)
    assert [m.action for m in made] == ["made", "failed", "made", "failed", "failed"]
    reasons = [str(m.error) for m in made if m.error is not None]
    assert "0003.png" in reasons[0]
    assert reasons[1] == "no such clip; got nothing"
    assert "32 rows × 50 columns" in reasons[2]
    assert made[3].error is not None
    assert made[3].error.got == "nothing"


def test_protocols_without_sets_generate_nothing(tmp_path: Path) -> None:
    clips = sources(tmp_path / "gt", ["ant"])
    assert generate(Generation("tiny", tmp_path / "sets"), clips, load_protocol("bi-x4")) == []
    assert not (tmp_path / "sets").exists()


def test_clips_in_memory(tmp_path: Path) -> None:
    frames = torch.arange(3 * 3 * 32 * 48, dtype=torch.int64).remainder(251).to(torch.uint8).reshape(3, 3, 32, 48)
    first = fading(ArrayClip(frames, "ant"), tmp_path / "sets")
    again = fading(ArrayClip(frames, "ant"), tmp_path / "sets")
    assert torch.equal(first[:], again[:])
    assert (first.made, again.made) == (True, False)
