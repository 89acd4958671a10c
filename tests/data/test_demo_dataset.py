"""The dataset `demo` on disk: rendered once, checked always, never half."""

from __future__ import annotations

import errno
import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from stvsr_bench.core import registry
from stvsr_bench.core.errors import DataError
from stvsr_bench.core.hashing import clip_hash, frame_digest
from stvsr_bench.data.demo.dataset import DemoDataset, manifest
from stvsr_bench.data.demo.photographs import Pixels
from stvsr_bench.data.demo.scenes import FRAMES, SCENES, Scene

storage = importlib.import_module("stvsr_bench.data.demo.dataset")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root that the dataset rendered itself."""
    root = tmp_path_factory.mktemp("whole") / "demo"
    dataset(root).sources()
    return root


@pytest.fixture
def root(rendered: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(rendered, tmp_path / "demo"))


@pytest.fixture
def quick(rendered: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Rendering from memory instead of from scratch; lists what was rendered."""
    frames = {s.name: s.gt[:].permute(0, 2, 3, 1).numpy() for s in dataset(rendered).sources() if s.gt is not None}
    calls: list[str] = []

    def again(scene: Scene, t: int) -> Pixels:
        calls.append(scene.name)
        return np.ascontiguousarray(frames[scene.name][t])

    monkeypatch.setattr(storage, "render", again)
    return calls


def dataset(root: Path) -> DemoDataset:
    return DemoDataset(registry.datasets()["demo"].card, {"root": str(root)})


def hashes(root: Path) -> dict[str, str]:
    found = {}
    for source in dataset(root).sources():
        assert source.gt is not None
        frames = source.gt[:].permute(0, 2, 3, 1).contiguous().numpy()
        found[source.name] = clip_hash(frame_digest(f.tobytes(), *f.shape[:2]) for f in frames)
    return found


def test_registered_and_complete(rendered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = registry.datasets()["demo"]
    monkeypatch.setenv("STVSR_BENCH_DATA", str(rendered.parent))
    demo = registry.load_entry_class(entry)(entry.card, entry.knobs)
    assert isinstance(demo, DemoDataset)
    assert demo.missing() is None
    assert (demo.id, demo.kind, demo.expected, demo.unranked) == ("demo", "synthetic", 4, None)
    sources = demo.sources()
    assert [s.name for s in sources] == list(SCENES)
    for source in sources:
        assert source.gt is not None
        assert source.lq is None
        assert source.errors == {}
        assert (len(source.gt), source.gt.height, source.gt.width) == (17, 256, 256)
        assert source.gt.frame_rate == Fraction(24)


def test_files_hold_the_committed_pixels(rendered: Path) -> None:
    assert hashes(rendered) == manifest()
    files = [p.relative_to(rendered).as_posix() for p in rendered.rglob("*") if p.is_file() and p.name != ".lock"]
    assert sorted(files) == [f"GT/{c}/{t:08d}.png" for c in SCENES for t in range(FRAMES)]


def test_whole_clips_are_used_without_writing(root: Path, quick: list[str]) -> None:
    (root / ".lock").unlink()
    assert hashes(root) == manifest()
    assert quick == []
    assert [p.name for p in root.iterdir()] == ["GT"]


@pytest.mark.parametrize("damage", ["truncated", "absent", "other pixels", "empty folder", "half-written"])
def test_damaged_clips_are_rendered_again(root: Path, quick: list[str], damage: str) -> None:
    frame = root / "GT" / "coffee" / "00000003.png"
    if damage == "truncated":
        frame.write_bytes(frame.read_bytes()[:-40])
    elif damage == "absent":
        frame.unlink()
    elif damage == "other pixels":
        shutil.copy(frame.with_name("00000004.png"), frame)
    elif damage == "empty folder":
        shutil.rmtree(frame.parent)
        frame.parent.mkdir()
    else:  # what a process leaves that is killed while it renders
        (root / "GT").rename(root / ".tmp-abc")
    assert hashes(root) == manifest()
    assert len(quick) == len(SCENES) * FRAMES
    assert sorted(p.name for p in root.iterdir()) == [".lock", "GT"]


@pytest.mark.parametrize("foreign", ["holiday.jpg", "GT/walk/0001.png", "GT/coffee/00000017.png"])
def test_other_files_are_left_alone(tmp_path: Path, quick: list[str], foreign: str) -> None:
    theirs = tmp_path / foreign
    theirs.parent.mkdir(parents=True, exist_ok=True)
    theirs.write_bytes(b"precious")
    with pytest.raises(DataError, match="other files lie there"):
        dataset(tmp_path).sources()
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [theirs]
    assert quick == []


def test_a_machine_that_renders_other_pixels_gets_an_error(
    tmp_path: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = storage.render

    def off_by_one(scene: Scene, t: int) -> Pixels:
        frame = usual(scene, t)
        if (scene.name, t) == ("rocket", 16):
            frame = frame.copy()
            frame[0, 0, 0] ^= 1
        return np.asarray(frame)

    monkeypatch.setattr(storage, "render", off_by_one)
    with pytest.raises(DataError, match="clip 'rocket' comes out differently"):
        dataset(tmp_path / "demo").sources()
    assert not (tmp_path / "demo" / "GT").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be rendered into .*file/demo.*STVSR_BENCH_DATA"):
        dataset(tmp_path / "file" / "demo").sources()


def test_a_full_disk_leaves_nothing_half(tmp_path: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_bytes
    written: list[Path] = []

    def until_full(path: Path, data: bytes) -> int:
        if len(written) == 40:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        written.append(path)
        return write(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", until_full)
        with pytest.raises(DataError, match="No space left"):
            dataset(tmp_path / "demo").sources()
    assert [p.name for p in (tmp_path / "demo").iterdir()] == [".lock"]
    assert hashes(tmp_path / "demo") == manifest()


@pytest.mark.slow
def test_killed_then_two_at_once(tmp_path: Path) -> None:
    root = tmp_path / "demo"
    program = (
        "import logging, sys; logging.basicConfig(level=logging.INFO)\n"
        "from stvsr_bench.core import registry\n"
        "from stvsr_bench.data.demo.dataset import DemoDataset\n"
        "print(len(DemoDataset(registry.datasets()['demo'].card, {'root': sys.argv[1]}).sources()))\n"
    )

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", program, str(root)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )

    first = start()
    deadline = time.monotonic() + 60
    while not list(root.glob(".tmp-*/chelsea/*.png")):
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert not (root / "GT").exists()

    both = [start(), start()]
    ends = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert [out.strip() for out, _ in ends] == ["4", "4"]
    assert sum("rendering the demo clips" in err for _, err in ends) == 1
    assert hashes(root) == manifest()
    assert sorted(p.name for p in root.iterdir()) == [".lock", "GT"]
