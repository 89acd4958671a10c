"""Weights that are folders: found where they lie, checked once, never copied; what is wrong is named."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from toy_weights import Server, file_facts, sha, write_card

from stvsr_bench.core.errors import WeightError
from stvsr_bench.core.weight_card import WeightSpec
from stvsr_bench.weights import service
from stvsr_bench.weights.cache import CacheError
from stvsr_bench.weights.download import Silent
from stvsr_bench.weights.folder import file_sha256, folder_hash, hash_folder

REPOSITORY = "someone/Large-Net"
FILES = {"net/config.json": b'{"width": 8}', "net/model-1.bin": bytes(range(256)) * 40, "prompt/empty.bin": b"\1\2\3"}
BY_HAND = "toynet__big"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Told(Silent):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.checked: list[str] = []
        self.counted = 0
        self.open = 0

    def say(self, text: str) -> None:
        self.lines.append(text)

    def begin(self, name: str, done: int, total: int | None, doing: str = "downloading") -> None:
        assert doing == "checking"
        assert done == 0
        self.checked.append(name)
        self.open += 1

    def advance(self, count: int) -> None:
        self.counted += count

    def end(self) -> None:
        self.open -= 1


def hub(files: Mapping[str, bytes] = FILES, /, **changes: Any) -> dict[str, Any]:
    """A channel of the hub, by a branch: every file has its hash."""
    facts = [file_facts(name, data) for name, data in files.items()]
    return {"kind": "hub", "repository": REPOSITORY, "revision": "main", "files": facts, **changes}


def folder_weight(*channels: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A weight of a card that is a folder."""
    return {"name": "big", "licence": "MIT", "reader": "folder", "channels": list(channels or (hub(),)), **more}


def fill(folder: Path, files: Mapping[str, bytes] = FILES) -> Path:
    """Write ``files`` below ``folder``."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


IDENTITY = folder_hash({name: sha(data) for name, data in FILES.items()})


@pytest.fixture(autouse=True)
def hub_cache(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's own cache, empty."""
    folder = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    return folder


def snapshot(hub_cache: Path, commit: str = COMMIT, files: Mapping[str, bytes] = FILES) -> Path:
    """Lay out files as the hub's library does: blobs, and links to them."""
    home = hub_cache / f"models--{REPOSITORY.replace('/', '--')}"
    for name, data in files.items():
        blob = home / "blobs" / sha(data)
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        link = home / "snapshots" / commit / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    return home / "snapshots" / commit


@pytest.mark.parametrize("place", ["weight", "repository", "name"])
def test_files_put_by_hand_stay_where_they_are(place: str, cards: Path, cache: Path) -> None:
    write_card(cards, folder_weight())
    assert service.state("toynet/big") == "absent"
    assert service.weight_hash("toynet/big") == IDENTITY
    name = {"weight": BY_HAND, "repository": REPOSITORY.replace("/", "__"), "name": "Large-Net"}[place]
    folder = fill(cache / "files" / name)
    assert service.state("toynet/big") == "absent"  # not looked at yet
    with service.offline():
        assert service.weight_folder("toynet/big") == folder
    assert service.state("toynet/big") == "present"
    assert service.weight_hash("toynet/big") == IDENTITY
    assert not list(cache.glob("*.safetensors"))
    held = sum(path.stat().st_size for path in (cache / "recorded").iterdir())
    assert held < sum(map(len, FILES.values()))  # notes, no copies


def test_from_a_folder(cards: Path, tmp_path: Path) -> None:
    write_card(cards, folder_weight())
    with pytest.raises(WeightError, match=r"is not in '.*none'.*none of its files.*net/config\.json \(1 kB\), net/mod"):
        service.fetch_weight("toynet/big", folder=tmp_path / "none")
    folder = fill(tmp_path / "carried")
    assert service.fetch_weight("toynet/big", folder=folder) == folder
    assert service.weight_folder("toynet/big") == folder
    shutil.move(folder, tmp_path / "moved")
    assert service.state("toynet/big") == "absent"
    assert service.fetch_weight("toynet/big", folder=tmp_path / "moved") == tmp_path / "moved"


def test_from_the_cache_of_another_machine(cards: Path, hub_cache: Path) -> None:
    write_card(cards, folder_weight())
    there = snapshot(hub_cache)
    assert service.fetch_weight("toynet/big", folder=hub_cache) == there


def test_a_folder_of_the_card(cards: Path, tmp_path: Path) -> None:
    files = [file_facts(name, data) for name, data in FILES.items()]
    local = {"kind": "local", "folder": str(tmp_path / "store"), "files": files}
    write_card(cards, folder_weight(local, hub()))
    with service.offline(), pytest.raises(WeightError, match=r"1\. local folder .*/store: no such folder; 2\. Hugging"):
        service.weight_folder("toynet/big")
    fill(tmp_path / "store")
    with service.offline():
        assert service.weight_folder("toynet/big") == tmp_path / "store"


def test_the_snapshot_of_the_hub_is_used_in_place(cards: Path, hub_cache: Path) -> None:
    write_card(cards, folder_weight())
    snapshot(hub_cache, "0" * 40, FILES | {"net/config.json": b"{}"})  # an older commit
    right = snapshot(hub_cache, "1" * 40)
    with service.offline():
        assert service.weight_folder("toynet/big") == right


WRONG: dict[str, tuple[dict[str, bytes | None], str]] = {
    "absent": ({"net/config.json": None}, r"net/config\.json is absent"),
    "two absent": (
        {"net/config.json": None, "prompt/empty.bin": None},
        r"config\.json is absent, prompt/\S+ is absent",
    ),
    "truncated": ({"net/model-1.bin": FILES["net/model-1.bin"][:-1]}, r"model-1\.bin has 10239 bytes instead of 10240"),
    "other content": (
        {"prompt/empty.bin": b"\1\2\4"},
        r"empty\.bin is another file \(sha256 \w+, expected 039",
    ),
    "pointer": ({"net/model-1.bin": b"version https://git-lfs.github.com/spec/v1\n"}, r"pointer of git LFS.*lfs pull"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_files_are_named(fault: str, cards: Path, cache: Path) -> None:
    write_card(cards, folder_weight())
    changes, message = WRONG[fault]
    files = {name: data for name, data in {**FILES, **changes}.items() if data is not None}
    fill(cache / "files" / BY_HAND, files)
    with service.offline(), pytest.raises(WeightError, match=message) as caught:
        service.weight_folder("toynet/big")
    assert "2. Hugging Face hub someone/Large-Net at main: not asked, offline" in str(caught.value)
    assert service.state("toynet/big") == "absent"
    fill(cache / "files" / BY_HAND)
    with service.offline():
        service.weight_folder("toynet/big")


def test_nothing_here_and_offline(cards: Path, cache: Path) -> None:
    write_card(cards, folder_weight(size=12_846_839_231))
    with service.offline(), pytest.raises(WeightError) as caught:
        service.weight_folder("toynet/big")
    text = str(caught.value)
    assert "toynet/big (12.8 GB, licence MIT) cannot be had (offline)" in text
    assert "net/config.json (1 kB), net/model-1.bin (10 kB), prompt/empty.bin (1 kB)" in text
    assert f"put them into {cache / 'files' / BY_HAND}" in text
    assert "stvsr-bench fetch toynet/big --from DIR" in text


ASK = """
import time

def sleep(seconds):
    raise AssertionError(f"waits {seconds} s")

time.sleep = sleep
from stvsr_bench.core.errors import WeightError
from stvsr_bench.weights import service
from stvsr_bench.weights.download import Silent

class Told(Silent):
    def say(self, text):
        print(text)

try:
    print(service.weight_folder("toynet/big", Told()))
except WeightError as error:
    print(error)
"""


def ask(endpoint: str, home: Path) -> str:
    """Ask for the folder in a process of its own: the hub's library reads its environment when it is imported."""
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        env={**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_network(cards: Path, tmp_path: Path) -> None:
    """The hub's library tries for 23 seconds when it is asked for one file; it is not asked that way."""
    write_card(cards, folder_weight())
    answer = ask("http://127.0.0.1:9", tmp_path / "home")
    assert "1. Hugging Face hub someone/Large-Net at main: the hub does not give it; got ConnectError" in answer
    assert "net/model-1.bin (10 kB)" in answer


def test_a_download_of_the_hub(cards: Path, server: Server, tmp_path: Path) -> None:
    write_card(cards, folder_weight())
    serve(server, FILES | {"README.md": b"not wanted"})
    said, where = ask(server.url, tmp_path / "home").splitlines()
    found = tmp_path / "home" / "hub" / "models--someone--Large-Net" / "snapshots" / COMMIT
    assert said == "Hugging Face hub someone/Large-Net at main: 3 files, 10 kB"
    assert Path(where) == found
    assert {str(path.relative_to(found)) for path in found.rglob("*") if path.is_file()} == set(FILES)
    asked = len(server.log)
    assert ask(server.url, tmp_path / "home") == f"{found}\n"
    assert len(server.log) == asked
    assert service.state("toynet/big") == "present"


def test_a_download_of_other_files(cards: Path, server: Server, tmp_path: Path) -> None:
    """The branch has moved on since the card was written: what it holds now is not taken."""
    write_card(cards, folder_weight())
    serve(server, FILES | {"prompt/empty.bin": b"\3\2\1"})
    answer = ask(server.url, tmp_path / "home")
    assert re.search(r"at main: '.*/snapshots/0123.*empty\.bin is another file", answer)
    assert service.state("toynet/big") == "absent"


def serve(server: Server, files: Mapping[str, bytes]) -> None:
    """Answer like the hub: what a branch is, what lies in a commit, and the files."""
    api = f"/api/models/{REPOSITORY}"
    tree = [{"type": "file", "path": name, "size": len(data), "oid": sha(data)[:40]} for name, data in files.items()]
    about = {"id": REPOSITORY, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files], "private": False}
    server.pages[f"{api}/revision/main"] = ("application/json", json.dumps(about).encode())
    for query in ("recursive=true&expand=false", "recursive=True&expand=False"):  # as the library's version writes it
        server.pages[f"{api}/tree/{COMMIT}?{query}"] = ("application/json", json.dumps(tree).encode())
    for name, data in files.items():
        server.pages[f"/{REPOSITORY}/resolve/{COMMIT}/{name}"] = ("application/octet-stream", data)


# ---------------------------------------------------------------------- what is remembered


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Which files are hashed."""
    from stvsr_bench.weights import folder

    seen: list[Path] = []
    real = folder._hash

    def spy(path: Path, size: int, reporter: Any) -> str:
        seen.append(path)
        return real(path, size, reporter)

    monkeypatch.setattr(folder, "_hash", spy)
    return seen


def test_a_file_is_hashed_once(cards: Path, cache: Path, readings: list[Path]) -> None:
    write_card(cards, folder_weight())
    folder = fill(cache / "files" / BY_HAND)
    service.weight_folder("toynet/big")
    assert sorted(readings) == sorted(folder / name for name in FILES)
    readings.clear()
    assert service.weight_folder("toynet/big") == folder
    assert service.state("toynet/big") == "present"
    assert hash_folder(folder, tuple(FILES), Silent()) == IDENTITY  # a user's folder of these files is this weight
    assert readings == []


def test_a_changed_file_is_looked_at_again(cards: Path, cache: Path, readings: list[Path]) -> None:
    write_card(cards, folder_weight())
    folder = fill(cache / "files" / BY_HAND)
    service.weight_folder("toynet/big")
    changed = folder / "net" / "model-1.bin"
    readings.clear()
    os.utime(changed, ns=(0, 0))  # only touched
    assert service.state("toynet/big") == "absent"
    assert service.weight_folder("toynet/big") == folder
    assert readings == [changed]
    changed.write_bytes(FILES["net/model-1.bin"][:-1] + b"x")  # as long as before
    assert service.state("toynet/big") == "absent"
    with service.offline(), pytest.raises(WeightError, match=r"model-1\.bin is another file"):
        service.weight_folder("toynet/big")
    changed.unlink()
    assert service.state("toynet/big") == "absent"


def test_a_damaged_note_is_no_harm(cards: Path, cache: Path) -> None:
    write_card(cards, folder_weight())
    folder = fill(cache / "files" / BY_HAND)
    service.weight_folder("toynet/big")
    for note in (cache / "recorded").iterdir():
        note.write_text("{")
    assert service.state("toynet/big") == "absent"
    assert service.weight_folder("toynet/big") == folder


def test_long_files_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stvsr_bench.weights.folder._LONG", 1000)
    told = Told()
    fill(tmp_path)
    hash_folder(tmp_path, tuple(FILES), told)
    assert (told.checked, told.counted, told.open) == (["model-1.bin"], 10240, 0)


def test_a_file_that_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "growing.bin"
    path.write_bytes(b"x" * 20_000_000)

    class Writer(Silent):
        def advance(self, count: int) -> None:
            with path.open("ab") as file:
                file.write(b"y")

    with pytest.raises(WeightError, match="changed while it was read"):
        file_sha256(path, Writer())


def test_a_cache_that_cannot_be_written(cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_card(cards, folder_weight())
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STVSR_BENCH_WEIGHTS", str(tmp_path / "file"))
    with pytest.raises(CacheError, match="cannot be written"):
        service.fetch_weight("toynet/big", folder=fill(tmp_path / "carried"))


def test_the_identity_of_files_whose_hash_nobody_knows(cards: Path, cache: Path) -> None:
    """A commit of the hub fixes them; what they are is known once they have been read."""
    unknown = [{"path": name} for name in FILES]
    write_card(cards, folder_weight(hub(revision=COMMIT, files=unknown)))
    assert service.weight_hash("toynet/big").startswith(f"file:{REPOSITORY}@{COMMIT}/net/config.json+")
    fill(cache / "files" / BY_HAND)
    service.weight_folder("toynet/big")
    assert service.weight_hash("toynet/big") == IDENTITY


def test_another_commit_is_not_taken_where_only_the_commit_tells(cards: Path, hub_cache: Path) -> None:
    write_card(cards, folder_weight(hub(revision=COMMIT, files=[{"path": name} for name in FILES])))
    snapshot(hub_cache, "f" * 40)
    with service.offline(), pytest.raises(WeightError, match="not asked, offline"):
        service.weight_folder("toynet/big")
    right = snapshot(hub_cache)
    with service.offline():
        assert service.weight_folder("toynet/big") == right


def test_each_kind_has_its_own_door(cards: Path, cache: Path) -> None:
    single = {"name": "w", "licence": "MIT", "reader": "torch", "channels": [hub({"a.pth": b"1"})]}
    write_card(cards, folder_weight(), single)
    with pytest.raises(WeightError, match="is a folder; ask weight_folder"):
        service.load_weight("toynet/big")
    with pytest.raises(WeightError, match="is no folder; ask load_weight"):
        service.weight_folder("toynet/w")


# ---------------------------------------------------------------------- the card


def test_hashes_make_a_branch_honest() -> None:
    assert WeightSpec.model_validate(folder_weight()).faults() == []
    assert WeightSpec.model_validate(folder_weight(hub(revision=None))).faults() == []
    part = [file_facts("a", b"1"), {"path": "b"}]
    for revision in ("main", None):
        spec = WeightSpec.model_validate(folder_weight(hub(files=part, revision=revision)))
        assert "the hub's revision as a commit, or of every file the sha256" in spec.faults()
    assert WeightSpec.model_validate(folder_weight(hub(files=part, revision=COMMIT))).faults() == []


LOCAL = {"kind": "local", "folder": "/x", "files": [{"path": "a"}]}
ADDRESS = {"kind": "address", "url": "https://x.org/a", "sha256": "0" * 64}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": [ADDRESS]}, "cannot give a folder"),
        ({"tensor_hash": "0" * 64}, "kept as they are"),
        ({"drop": ["a.*"]}, "kept as they are"),
        ({"channels": [hub({"/etc/a": b"1"})]}, "relative"),
        ({"channels": [hub({"../a": b"1"})]}, "relative"),
        ({"channels": [hub(), hub({"net/config.json": b"{}"})]}, "the same files"),
        (
            {"reader": "torch", "channels": [{"kind": "local", "folder": "/x", "files": [{"path": "a"}]}]},
            "is for reader",
        ),
        ({"reader": "torch"}, "names one file"),
    ],
)
def test_cards_that_no_folder_fits(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        WeightSpec.model_validate({**folder_weight(), **change})


# ---------------------------------------------------------------------- the commands


def test_fetch_and_list(call: Callable[..., Any], cards: Path, tmp_path: Path) -> None:
    write_card(cards, folder_weight(size=10_255))
    listed = call("list", "weights")
    (row,) = [line for line in listed.out.splitlines() if line.startswith("toynet/big ")]
    assert "absent" in row
    assert "Hugging Face hub someone/Large-Net at main" in row
    fill(tmp_path / "carried", {name: data for name, data in FILES.items() if name != "prompt/empty.bin"})
    partial = call("fetch", "toynet/big", "--from", "carried")
    assert partial.status == 1
    assert "prompt/empty.bin is absent" in partial.out
    fill(tmp_path / "carried")
    answer = call("fetch", "toynet/big", "--from", "carried")
    assert answer.status == 0, answer.out
    assert "toynet/big: present" in answer.out
    (row,) = [line for line in call("list", "weights").out.splitlines() if line.startswith("toynet/big ")]
    assert "present" in row
