"""``stvsr-bench prepare`` as a user calls it: good data, every kind of bad data, and LQ sets."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from stvsr_bench.cli.app import main
from stvsr_bench.data.manifest import read_manifest

Call = Callable[..., tuple[int, str, str]]
LEVELS = ("a", "b")
FRAMES = 5
MANIFEST = "data/manifests/own-*.csv"


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Run ``prepare`` in this process, from an empty folder; returns status, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STVSR_BENCH_DATA", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main(["prepare", *arguments])
        return int(left.value.code or 0), *capfd.readouterr()

    return run


def picture(path: Path, seed: int, size: tuple[int, int] = (64, 64)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    # Not compressed, so that files of one size have as many bytes whatever they show.
    data = cv2.imencode(".png", cv2.GaussianBlur(pixels, (5, 5), 2), [cv2.IMWRITE_PNG_COMPRESSION, 0])[1]
    path.write_bytes(data.tobytes())


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Two clips of five frames below ``GT``."""
    for number, clip in enumerate(LEVELS):
        for i in range(FRAMES):
            picture(tmp_path / "own" / "GT" / clip / f"{i:04d}.png", 10 * number + i)
    return tmp_path / "own"


OWN = ("dataset=folder", "dataset.root=own")


def state(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def manifest_of(tmp_path: Path) -> Path:
    (path,) = tmp_path.glob(MANIFEST)
    return path


# ------------------------------------------------------------------ good data


def test_a_whole_dataset(call: Call, own: Path, tmp_path: Path) -> None:
    before = state(own)
    status, out, err = call(*OWN)
    assert (status, err) == (0, "")
    assert "own: 2 clips in" in out
    assert "[1/2] a (gt): 5 frames of 64×64, sha256 " in out
    assert "every frame is whole" in out
    assert "warning" not in out
    assert state(own) == before  # nothing is written beside the data
    written = read_manifest(manifest_of(tmp_path))
    assert (written.dataset, [(e.clip, e.role, e.frames) for e in written.entries]) == (
        "own",
        [("a", "gt", 5), ("b", "gt", 5)],
    )


def test_the_same_command_again_is_quiet(call: Call, own: Path, tmp_path: Path) -> None:
    call(*OWN)
    before = manifest_of(tmp_path).stat().st_mtime_ns
    status, out, _ = call(*OWN)
    assert status == 0
    assert "2 of 2 were decoded before" in out
    assert "[1/" not in out
    assert "equal to the manifest written before" in out
    assert manifest_of(tmp_path).stat().st_mtime_ns == before
    picture(own / "GT" / "c" / "0.png", 99)
    status, out, _ = call(*OWN)
    assert status == 1
    assert "[1/1] c (gt): 1 frames" in out  # only what is new is decoded
    assert "differs from the manifest written before: clip 'c' (gt): not in the manifest" in out
    assert manifest_of(tmp_path).stat().st_mtime_ns == before
    assert "delete that file" in out


def test_verify_decodes_again_and_names_clip_and_frame(call: Call, own: Path, tmp_path: Path) -> None:
    call(*OWN, "--manifest", "mine.csv")
    assert list(tmp_path.glob(MANIFEST)) == []
    before = state(tmp_path)
    status, out, _ = call(*OWN, "--verify", "mine.csv")
    assert status == 0
    assert "[2/2] b (gt)" in out
    assert f"equal to the manifest: {tmp_path / 'mine.csv'}" in out
    path = own / "GT" / "b" / "0003.png"
    looked_at = path.stat()
    picture(path, 77)
    os.utime(path, ns=(looked_at.st_atime_ns, looked_at.st_mtime_ns))
    assert path.stat().st_size == looked_at.st_size  # nothing but the pixels tells of the change
    assert "2 of 2 were decoded before" in call(*OWN)[1]
    (own / "GT" / "a" / "0001.png").unlink()
    status, out, _ = call(*OWN, "--verify", "mine.csv")
    assert status == 1
    assert "differs from the manifest: clip 'b' (gt): frame 3: other pixels" in out
    assert "differs from the manifest: clip 'a' (gt): 4 frames, not 5" in out
    assert "differs from the manifest: clip 'a' (gt): frame 1 of the manifest: missing" in out
    assert "3 differences from" in out
    assert state(tmp_path)["mine.csv"] == before["mine.csv"]


def test_the_manifest_that_ships_with_the_card_is_used(call: Call, tmp_path: Path) -> None:
    status, out, _ = call("dataset=demo")
    assert status == 0
    assert "complete: every clip and frame of the card is here" in out
    assert "equal to the manifest that ships with the card" in out


def test_a_part_of_a_dataset(call: Call, own: Path, tmp_path: Path) -> None:
    call(*OWN, "--manifest", "mine.csv")
    (own / "GT" / "a" / "0002.png").write_bytes(b"")
    status, out, _ = call(*OWN, "dataset.clips=b", "--verify", "mine.csv")
    assert status == 0
    assert "a (gt)" not in out
    assert "equal to the manifest" in out
    status, out, _ = call(*OWN, "dataset.limit=1")
    assert status == 1
    assert list(tmp_path.glob(MANIFEST)) == []
    status, _, err = call(*OWN, "dataset.frames=0:2")
    assert status == 2
    assert "prepare looks at whole clips" in err


def test_a_dry_run_decodes_nothing(call: Call, own: Path, tmp_path: Path) -> None:
    (own / "GT" / "a" / "0002.png").write_bytes(b"broken")
    status, out, _ = call(*OWN, "--dry-run")
    assert status == 0
    assert "a (gt): 5 frames of 64×64" in out
    assert not (tmp_path / "data").exists()


def test_a_sweep_goes_on_after_a_dataset_that_is_absent(call: Call) -> None:
    status, out, err = call("-m", "dataset=vid4,demo")
    assert status == 2
    assert "dataset 'vid4' is absent" in err
    assert "demo: 4 of 4 clips" in out
    assert "2 jobs: 1 ok, 1 not ok" in out


# ------------------------------------------------------------------ bad data


def test_wrong_roots(call: Call, own: Path, tmp_path: Path) -> None:
    status, _, err = call("dataset=vid4", "dataset.root=nowhere")
    assert status == 2
    assert f"no folder {tmp_path / 'nowhere'}" in err
    (tmp_path / "above" / "x").mkdir(parents=True)
    (tmp_path / "above" / "y").mkdir()
    shutil.copytree(own, tmp_path / "above" / "own")
    status, _, err = call("dataset=vid4", "dataset.root=above")
    assert status == 2
    assert "the layout is unknown" in err
    assert f"try dataset.root={tmp_path / 'above' / 'own'}" in err
    status, _, err = call("dataset=vid4", f"dataset.root={own / 'GT' / 'a' / '0000.png'}")
    assert status == 2
    assert "is a file, not a dataset" in err
    status, out, _ = call("dataset=vid4", "dataset.root=own")  # clips of something else
    assert status == 0
    assert "incomplete: the files are no known variant: clip 'a' is not part of it" in out


def test_broken_frames(call: Call, own: Path, tmp_path: Path) -> None:
    path = own / "GT" / "a" / "0002.png"
    path.write_bytes(path.read_bytes()[:-30])
    status, out, _ = call(*OWN)
    assert status == 1
    assert "broken: a (gt): frame 2: cannot decode the frame" in out
    assert "[2/2] b (gt): 5 frames" in out  # the other clip is looked at
    assert "no manifest was written, as clips are broken" in out
    assert list(tmp_path.glob(MANIFEST)) == []


def test_what_looks_wrong_is_a_warning(call: Call, own: Path) -> None:
    shutil.copytree(own / "GT" / "b", own / "GT" / "b (copy) .. x.y")
    (own / "GT" / "a" / "0002.png").unlink()
    picture(own / "GT" / "a" / "cover.png", 50)
    (own / "GT" / "a" / "notes.txt").touch()
    deep = cv2.imread(str(own / "GT" / "a" / "0003.png")).astype(np.uint16) * 257
    cv2.imwrite(str(own / "GT" / "a" / "0003.png"), deep)
    os.symlink(own, own / "GT" / "loop")
    os.symlink("circle", own / "circle")
    status, out, _ = call(*OWN)
    assert status == 0
    for part in (
        "note: left out: 'circle' is a link that leads in a circle; 'GT/loop' is a link that leads back",
        "warning: a (gt): 1 of 5 frames are named unlike the others and may be none: cover.png",
        "warning: a (gt): 1 files among the frames are no images and are left out: notes.txt",
        "warning: a (gt): 16-bit samples became round(x/257) in 1 of 5 frames, the first is frame 2",
        "warning: b (gt) and b (copy) .. x.y (gt) hold the same pixels: two copies of one clip",
    ):
        assert part in out
    (own / "GT" / "a" / "cover.png").unlink()
    _, out, _ = call(*OWN)
    assert "frames are missing or there twice, as their numbers are not even: '0003.png' follows '0001.png'" in out


@pytest.mark.parametrize("name", ["..", "../../b", "my clips", "x.y", ".hidden"])
def test_names_never_leave_their_folder(call: Call, own: Path, tmp_path: Path, name: str) -> None:
    before = state(tmp_path)
    status, _, err = call(*OWN, f"dataset.name={name}")
    assert (status, err) == (0, "")
    new = set(state(tmp_path)) - set(before)
    assert len([file for file in new if file.endswith(".csv")]) == 1
    assert all(file.startswith("data/manifests/") for file in new)


def test_manifests_that_cannot_be_used(call: Call, own: Path, tmp_path: Path) -> None:
    call(*OWN, "--manifest", "mine.csv")
    text = (tmp_path / "mine.csv").read_text(encoding="utf-8")
    (tmp_path / "later.csv").write_text(text.replace('"version": 1', '"version": 9'), encoding="utf-8")
    (tmp_path / "picture.csv").write_bytes((own / "GT" / "a" / "0000.png").read_bytes())
    before = state(tmp_path)
    for file, message in (
        ("later.csv", "is of another version"),
        ("picture.csv", "is no whole manifest"),
        ("nowhere.csv", "cannot be read"),
    ):
        status, out, err = call(*OWN, "--verify", file)
        assert (status, out) == (2, "")
        assert message in err
        if file != "nowhere.csv":  # an existing file is never overwritten, whatever it is
            status, _, err = call(*OWN, "--manifest", file)
            assert status == 2
            assert message in err
    status, _, err = call("dataset=vid4", "dataset.root=own", "--verify", "mine.csv")
    assert status == 2
    assert "is of another dataset" in err
    assert state(tmp_path) == before


def test_options_that_make_no_sense(call: Call, own: Path) -> None:
    for arguments, message in (
        ((*OWN, "method=bicubic"), "prepare takes no method"),
        ((*OWN, "protocl=bi-x4"), "unknown option 'protocl'"),
        ((*OWN, "protocol=bi-x5"), "unknown protocol 'bi-x5'"),
        ((*OWN, "executor.workers=0"), "option 'executor.workers'"),
        ((*OWN, "--verfy", "x"), "unknown option '--verfy'"),
        (("dataset.root=own",), "'dataset' is not given"),
        ((*OWN, "--export", "out"), "there are no LQ sets to export"),
        ((*OWN, "protocol=bi-x4", "--export", "out"), "protocol=bi-x4, which stores none"),
    ):
        status, _, err = call(*arguments)
        assert status == 2, arguments
        assert message in err, err
    assert not Path("out").exists()


# ------------------------------------------------------------------ protocols


def test_a_protocol_that_stores_nothing_is_checked_against_every_clip(call: Call, own: Path) -> None:
    status, out, _ = call(*OWN, "protocol=bi-x4")
    assert status == 0
    assert "bi-x4: 2 of 2 clips can be used; nothing has to be stored" in out
    for i in range(FRAMES):
        picture(own / "GT" / "b" / f"{i:04d}.png", i, (62, 64))
    status, out, _ = call(*OWN, "protocol=bi-x4", "--manifest", "new.csv")
    assert status == 1
    assert "not usable under bi-x4: clip 'b': its size is not a multiple of 4" in out
    status, _, err = call(*OWN, "protocol=given-x4")
    assert status == 2
    assert "accepted: a dataset that holds lq" in err


def test_lq_of_gt_s_size(call: Call, own: Path) -> None:
    shutil.copytree(own / "GT", own / "LQ")
    for path in (own / "LQ").rglob("*.png"):
        picture(path, 100 + int(path.stem))
    status, out, _ = call(*OWN)
    assert status == 0
    assert "warning: protocols given-… cannot be used as it is: dataset 'own': LQ is stored at GT size" in out
    status, _, err = call(*OWN, "protocol=given-x4")
    assert status == 2
    assert "dataset.lq_size=gt" in err
    assert "dataset.lq_size=shrink4" in err
    status, out, _ = call(*OWN, "dataset.lq_size=shrink4", "protocol=given-x4")
    assert status == 0
    assert "own[shrink4]: 2 clips" in out
    assert "b (lq): 5 frames of 64×64" in out or "4 of 4 were decoded before" in out  # as they are stored


PROTOCOL = "protocol=diffst-x4t4"


def lq_hashes(out: str) -> dict[str, str]:
    return dict(re.findall(r"\] (\w): 5 LQ frames, sha256 (\w+)…", out))


def set_id(out: str) -> str:
    (found,) = re.findall(r"set id (\w{64})", out)
    return str(found)


def test_lq_sets_are_the_same_for_any_workers_and_order(
    call: Call, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, one, _ = call(*OWN, PROTOCOL, "executor.workers=1")
    assert status == 0
    monkeypatch.setenv("STVSR_BENCH_DATA", str(tmp_path / "elsewhere"))
    status, later, _ = call(*OWN, PROTOCOL, "dataset.clips=b")  # the second clip first
    assert status == 0
    status, two, _ = call(*OWN, PROTOCOL, "executor.workers=2")
    assert status == 0
    assert "1 LQ sets made, 1 there already" in two
    assert set(lq_hashes(one)) == {"a", "b"}
    assert {**lq_hashes(later), **lq_hashes(two)} == lq_hashes(one)
    assert set_id(one) == set_id(two)
    status, again, _ = call(*OWN, PROTOCOL)
    assert (status, lq_hashes(again), set_id(again)) == (0, {}, set_id(one))
    assert "0 LQ sets made, 2 there already" in again


def test_lq_sets_are_handed_on_whole_or_not_at_all(
    call: Call, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, _ = call(*OWN, PROTOCOL, "--export", "for others")
    assert status == 0
    assert f"exported to {tmp_path / 'for others'}" in out
    before = state(tmp_path / "for others")
    status, _, err = call(*OWN, PROTOCOL, "dataset.clips=a", "--export", "for others")
    assert status == 2
    assert "nothing is overwritten" in err
    assert state(tmp_path / "for others") == before

    monkeypatch.setenv("STVSR_BENCH_DATA", str(tmp_path / "theirs"))
    status, taken, _ = call(*OWN, PROTOCOL, "--import", "for others")
    assert status == 0
    assert "imported 2 LQ sets" in taken
    assert "0 LQ sets made, 2 there already" in taken
    assert set_id(taken) == set_id(out)

    picture(next((tmp_path / "for others").rglob("00000001.png")), 5, (16, 16))
    monkeypatch.setenv("STVSR_BENCH_DATA", str(tmp_path / "third"))
    status, _, err = call(*OWN, PROTOCOL, "--import", "for others")
    assert status == 2
    assert "00000001.png" in err
    assert not (tmp_path / "third" / "generated").exists()


def test_one_bad_clip_does_not_stop_the_lq_sets_of_the_others(call: Call, own: Path) -> None:
    (own / "GT" / "a" / "0003.png").write_bytes(b"")
    status, out, _ = call(*OWN, PROTOCOL, "--export", "out")
    assert status == 1
    assert set(lq_hashes(out)) == {"b"}
    assert "[1/2] a: failed: " in out
    assert "1 LQ sets made, 0 there already, 1 failed" in out
    assert "nothing was exported" in out
    assert not Path("out").exists()


# ------------------------------------------------------------------ real clips


def test_real_clips(call: Call, shared_data: Path) -> None:
    status, out, _ = call("dataset=vid4", f"dataset.root={shared_data / 'Vid4'}")
    assert status == 0
    assert "vid4[first31]: 4 of 4 clips" in out
    assert "[2/5] calendar (lq): 31 frames of 180×144" in out
    assert "complete: every clip and frame of the card is here" in out
    status, out, _ = call("dataset=videolq", f"dataset.root={shared_data / 'VideoLQ_sample'}")
    assert status == 0
    assert "incomplete: the files are no known variant: clip 'demo_000' has 15 frames, not 100" in out
    status, out, _ = call("dataset=folder", f"dataset.root={shared_data / 'real_world'}")
    assert status == 0
    assert "star_240p_15fps (plain): 78 frames of 426×240" in out
    assert "every frame is whole" in out
