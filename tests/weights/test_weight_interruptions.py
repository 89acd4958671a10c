"""Killed, doubled, starved: work is done once, and nothing half-written is taken for complete."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toy_weights import MEMBER, Server, pypi, torch_bytes, toy_tensors, weight, wheel, write_card

from stvsr_bench.weights import service
from stvsr_bench.weights.identity import tensor_hash

TENSORS = toy_tensors(size=200)  # 1.4 MB
MEMBERS = {MEMBER: torch_bytes(TENSORS)}
DATA = wheel(MEMBERS)
HASH = tensor_hash(TENSORS)
FETCH = ["-c", "from stvsr_bench.cli.app import main; main()", "fetch", "toynet/w"]


@pytest.fixture(autouse=True)
def card(cards: Path) -> None:
    write_card(cards, weight("w", TENSORS, [pypi(DATA, MEMBERS)]))


def environment(server: Server, cache: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PIP_INDEX_URL": server.add_index(DATA),
        "STVSR_BENCH_WEIGHTS": str(cache),
        "OMP_NUM_THREADS": "1",
    }


def start(server: Server, cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *FETCH],
        env=environment(server, cache),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def transfers(server: Server) -> list[str | None]:
    return [wanted for path, wanted in server.log if path.startswith("/files/")]


def wait_for(condition: object, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():  # type: ignore[operator]
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_killed_in_the_middle_of_a_download(server: Server, cache: Path) -> None:
    server.pause = 0.05
    process = start(server, cache)
    wait_for(lambda: any(part.stat().st_size for part in cache.glob("downloads/*.part")), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    (part,) = cache.glob("downloads/*.part")
    begun = part.stat().st_size
    assert 0 < begun < len(DATA)
    assert not list(cache.glob("*.safetensors"))
    assert service.state("toynet/w") == "absent"
    server.pause = 0
    text, _ = start(server, cache).communicate(timeout=120)
    assert "toynet/w: present" in text
    assert "going on from" in text
    assert transfers(server) == [None, f"bytes={begun}-"]
    assert service.state("toynet/w") == "present"
    assert not list(cache.glob("downloads/*"))


def test_two_processes_at_once_do_the_work_once(server: Server, cache: Path) -> None:
    server.pause = 0.03
    both = [start(server, cache) for _ in range(2)]
    texts = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], texts
    assert all("toynet/w: present" in text for text in texts), texts
    assert transfers(server) == [None]


def test_a_full_disk(server: Server, cache: Path) -> None:
    """A limit on the size of files makes every larger write fail as a full disk does."""
    for limit in (200_000, len(DATA) + 10):  # in the download; in the cache's own file, which is a little smaller
        code = (
            "import resource, signal\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))\n"
        )
        if limit > len(DATA):
            code += (
                "import safetensors.torch\n"
                "save = safetensors.torch.save\n"
                "safetensors.torch.save = lambda *a, **k: save(*a, **k) + bytes(5000)\n"
            )
        done = subprocess.run(
            [sys.executable, "-c", code + FETCH[1], *FETCH[2:]],
            env=environment(server, cache),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 1, done.stderr
        assert "File too large" in done.stdout
        assert "free space, or name another folder: export STVSR_BENCH_WEIGHTS=DIR" in done.stdout
        assert "Traceback" not in done.stderr
        assert not list(cache.glob("*.safetensors"))
        assert not list(cache.glob(".tmp-*"))
        assert service.state("toynet/w") == "absent"


AS_NOBODY = """
import os, sys
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    open(os.path.join(sys.argv[1], "probe"), "w")
    print("writable")
except OSError:
    from stvsr_bench.core.errors import WeightError
    from stvsr_bench.weights import service
    try:
        print(len(service.load_weight("toynet/w")), "tensors")
    except WeightError as error:
        print(type(error).__name__, error)
"""


def test_a_read_only_cache(server: Server, cache: Path, cards: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Run as another user where this one may write everywhere."""
    code = AS_NOBODY
    # What the other user could not reach (packages in a private home) is imported before the user changes.
    early = "import stvsr_bench.weights.service, stvsr_bench.weights.channels, torch, safetensors.torch\n"
    early += "import stvsr_bench.weights.readers, stvsr_bench.weights.shaping, requests, huggingface_hub.constants\n"
    code = early + code
    for folder in (tmp_path_factory.getbasetemp(), *cache.parents):
        if os.access(folder, os.W_OK) and folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    cache.mkdir()
    cache.chmod(0o555)

    def load() -> str:
        done = subprocess.run(
            [sys.executable, "-c", code, str(cache)],
            env=environment(server, cache),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    text = load()
    assert text != "writable"
    assert text.startswith(f"CacheError the weights cache '{cache}' cannot be written; got Permission denied")
    assert "export STVSR_BENCH_WEIGHTS=DIR" in text
    cache.chmod(0o755)
    assert "toynet/w: present" in start(server, cache).communicate(timeout=120)[0]
    for path in (cache, *cache.iterdir()):
        path.chmod(0o555)
    try:
        assert load() == "2 tensors"  # reading needs no lock
    finally:
        for path in (cache, *cache.iterdir()):
            path.chmod(0o755)
