"""Datasets on the command line: what is here, what can be run, what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stvsr_bench.cli.app import main

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Run a command in this process over the data folder ``data``; returns status, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "220")
    monkeypatch.setenv("STVSR_BENCH_DATA", str(tmp_path / "data"))

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main(arguments)
        return int(left.value.code or 0), *capfd.readouterr()

    return run


def row(text: str, name: str) -> list[str]:
    """Return the cells of one line of the list."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_the_list_tells_what_is_here_and_where_it_looks(call: Call, tmp_path: Path) -> None:
    for clip, frames in (("calendar", 31), ("city", 31), ("foliage", 31)):
        for i in range(frames):
            path = tmp_path / "data" / "VID4" / clip / "hr" / f"hr_{i + 1:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    status, out, _ = call("list", "datasets")
    assert status == 0
    assert row(out, "vid4")[1:5] == ["synthetic", "incomplete [first31]", "3 of 4", "VID4"]
    assert row(out, "udm10")[1:5] == ["synthetic", "absent", "10", "udm10"]
    assert row(out, "demo")[2:5] == ["built in", "4", "demo"]
    assert row(out, "hq_vsr")[1:5] == ["training", "announced", "2055", "–"]
    assert row(out, "openvid30")[2] == "announced, not reproducible"
    assert row(out, "reds")[3] == "train 240, val 30"
    assert "vid4: missing: clip 'walk'" in out
    assert f"below {tmp_path / 'data'} ($STVSR_BENCH_DATA)" in out
    status, out, _ = call("show", "vid4")
    assert status == 0
    assert "on this machine: incomplete" in out
    assert f"looked for in {tmp_path / 'data' / 'VID4'}" in out
    assert "missing: clip 'walk'" in out


def test_a_broken_card_is_named_and_hides_no_other(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = "version: 1\ntitle: Whole\nsummary: s\nkind: no_gt\nsource: me\nlicence: mine\n"
    for name, rest in (("torn", ""), ("whole", whole)):
        folder = tmp_path / "plug" / "datasets" / name
        folder.mkdir(parents=True)
        (folder / "card.yaml").write_text(f"name: {name}\n{rest}")
        (folder / "config.yaml").write_text("root: null\n")
    monkeypatch.setenv("STVSR_BENCH_PATH", str(tmp_path / "plug"))
    status, out, _ = call("list", "datasets")
    assert status == 1
    assert row(out, "whole")[2] == "absent"
    assert "torn/card.yaml' breaks its schema" in out


@pytest.mark.parametrize("name", ["hq_vsr", "openvid30"])
def test_an_announced_dataset_cannot_be_run(name: str, call: Call) -> None:
    status, _, err = call("run", "method=bicubic", f"dataset={name}")
    assert status == 2
    assert f"dataset '{name}' cannot be run: it is only announced" in err
    assert "Traceback" not in err
    status, out, _ = call("validate", "dataset", name)
    assert status == 0
    assert "announced: nothing to run yet" in out
    status, out, _ = call("show", name)
    assert "on this machine: announced" in out


def test_validate_needs_no_lq_beside_ground_truth_and_names_unknown_options(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_data: Path
) -> None:
    """Vid4 here has LQ of one clip only, which no generating protocol reads."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "vid4").symlink_to(shared_data / "Vid4")
    status, out, _ = call("validate", "dataset", "vid4")
    assert status == 0, out
    assert "vid4[first31]" in out
    folder = tmp_path / "plug" / "datasets" / "mine"
    folder.mkdir(parents=True)
    facts = "name: mine\nversion: 1\ntitle: M\nsummary: s\nkind: no_gt\nsource: me\nlicence: mine\n"
    (folder / "card.yaml").write_text(facts)
    (folder / "config.yaml").write_text("rooot: null\n")
    monkeypatch.setenv("STVSR_BENCH_PATH", str(tmp_path / "plug"))
    status, out, _ = call("validate", "dataset", "mine")
    assert status == 1
    assert "options that the class does not know; got rooot" in out
