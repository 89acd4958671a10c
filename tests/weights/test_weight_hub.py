"""The Hugging Face hub: a revision's file is taken, and offline only what its own cache holds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from toy_weights import Server, file_facts, torch_bytes, toy_tensors, weight, write_card

from stvsr_bench.weights import service

TENSORS = toy_tensors()
NET = torch_bytes(TENSORS)
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LOAD = """
from stvsr_bench.core.errors import WeightError
from stvsr_bench.weights import service
try:
    print(len(service.load_weight("toynet/w")), "tensors")
except WeightError as error:
    print(error)
"""


def load(server: Server, tmp_path: Path, **environment: str) -> str:
    """Load in a process of its own: the hub's library reads its environment when it is imported."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        env={**os.environ, "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "hf"), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_file_of_a_revision(server: Server, cache: Path, cards: Path, tmp_path: Path) -> None:
    hub = {"kind": "hub", "repository": "someone/net", "revision": COMMIT, "files": [file_facts("deep/net.pth", NET)]}
    write_card(cards, weight("w", TENSORS, [hub]))
    absent = load(server, tmp_path)
    assert "Hugging Face hub someone/net at 0123456789: deep/net.pth cannot be had from the hub" in absent
    server.pages[f"/someone/net/resolve/{COMMIT}/deep/net.pth"] = ("application/octet-stream", NET)
    offline = load(server, tmp_path, HF_HUB_OFFLINE="1")
    assert "cannot be had (offline)" in offline
    assert load(server, tmp_path) == "2 tensors\n"
    assert service.state("toynet/w") == "present"
    for path in cache.glob("*.safetensors"):
        path.unlink()
    asked = len(server.log)
    assert load(server, tmp_path, HF_HUB_OFFLINE="1") == "2 tensors\n"  # from the hub's own cache
    assert len(server.log) == asked
