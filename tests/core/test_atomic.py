"""Files are whole or absent."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stvsr_bench.core.atomic import atomic_folder, atomic_write, read_json, write_json
from stvsr_bench.core.errors import ResultError


def test_a_failing_block_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_write(path) as file:
        file.write("new")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_writing_replaces_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"é": [1.5, None]})
    assert read_json(path) == {"é": [1.5, None]}
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_not_a_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"value": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_damaged_json_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": ')
    with pytest.raises(ResultError, match=r"a\.json.*not valid JSON"):
        read_json(tmp_path / "a.json")


def test_a_full_disk_is_our_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResultError, match="No space left on device"):
        write_json(tmp_path / "a.json", {})
    assert list(tmp_path.iterdir()) == []


def test_links_and_devices_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "real" / "table.csv")
    with atomic_write(tmp_path / "link.csv") as file:
        file.write("1")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real" / "table.csv").read_text() == "1"
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", str(tmp_path / "pipe")], stdout=subprocess.PIPE)
    with atomic_write(tmp_path / "pipe") as file:
        file.write("through")
    assert reader.communicate(timeout=10)[0] == b"through"
    assert (tmp_path / "pipe").is_fifo()


def test_a_folder_appears_whole_and_replaces(tmp_path: Path) -> None:
    for text in ("one", "two"):
        with atomic_folder(tmp_path / "frames") as folder:
            (folder / "a").write_text(text)
            assert not (tmp_path / "frames" / "b").exists()
    assert (tmp_path / "frames" / "a").read_text() == "two"
    with pytest.raises(KeyError), atomic_folder(tmp_path / "frames") as folder:
        (folder / "a").write_text("three")
        raise KeyError
    assert (tmp_path / "frames" / "a").read_text() == "two"
    assert [p.name for p in tmp_path.iterdir()] == ["frames"]


def test_a_killed_writer_leaves_no_final_file(tmp_path: Path) -> None:
    code = (
        "import sys, time; from stvsr_bench.core.atomic import atomic_write\n"
        "with atomic_write(sys.argv[1]) as f:\n"
        "    f.write('half'); f.flush(); print('writing', flush=True); time.sleep(60)\n"
    )
    target = tmp_path / "a.txt"
    process = subprocess.Popen([sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.05)
    assert not target.exists()
