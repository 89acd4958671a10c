"""The folder is the registration: what is found, what wins, what is refused, and how it is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from stvsr_bench.core import registry
from stvsr_bench.core.errors import CardError, ConfigError, UnknownNameError

CODE = """
from stvsr_bench.methods.base import Method

class Grey(Method):
    task = "vsr"

    def restore_float(self, frames, request):
        large = frames.repeat_interleave(request.scale, 2).repeat_interleave(request.scale, 3)
        return large.mean(1, keepdim=True).expand(-1, 3, -1, -1)
"""


def card(name: str, /, **changes: Any) -> dict[str, Any]:
    """Return a complete card of a method whose code lies beside it."""
    facts = {
        "name": name,
        "version": 1,
        "title": name,
        "summary": "Grey and large.",
        "task": "vsr",
        "status": "runnable",
        "entry": "method.py:Grey",
        "time_scales": [1],
        "deterministic": True,
        "licence": "Apache-2.0",
        "changes": [{"date": "2025-01-01", "version": 1, "text": "First version."}],
    }
    return {**facts, **changes}


def drop(root: Path, name: str, facts: dict[str, Any] | None = None, code: str = CODE) -> Path:
    """Write ``root/methods/name`` and return it."""
    folder = root / "methods" / name
    folder.mkdir(parents=True)
    (folder / "card.yaml").write_text(yaml.safe_dump(facts or card(name)), encoding="utf-8")
    (folder / "method.py").write_text(code, encoding="utf-8")
    return folder


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on $STVSR_BENCH_PATH."""
    folder = tmp_path / "my methods"
    folder.mkdir()
    monkeypatch.setenv("STVSR_BENCH_PATH", str(folder))
    monkeypatch.setenv("STVSR_BENCH_DATA", str(tmp_path / "data"))
    return folder


def test_a_dropped_folder_runs_by_name(path: Path, tmp_path: Path) -> None:
    import torch

    import stvsr_bench
    from stvsr_bench.video.writing import open_writer

    drop(path, "grey_one")
    entry = registry.methods()["grey_one"]
    assert entry.origin == str(path)
    clip = torch.randint(0, 256, (3, 3, 24, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with open_writer(tmp_path / "clips" / "a", "png", 24, 32, None) as writer:
        writer.write(clip)
    board = stvsr_bench.run(
        f"dataset.root={tmp_path / 'clips'}",
        "dataset.name=mine",
        f"results_dir={tmp_path / 'runs'}",
        "metrics.ids=[psnr_rgb]",
        method="grey_one",
        dataset="folder",
        protocol="bi-x4",
    )
    assert [(row.method, row.dataset, row.metric, row.n) for row in board.rows] == [("grey_one", "mine", "psnr_rgb", 1)]
    assert board.rows[0].mean is not None


def test_of_two_folders_with_one_name_the_first_is_used_and_the_second_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    used = drop(first, "twice")
    ignored = drop(second, "twice")
    monkeypatch.setenv("STVSR_BENCH_PATH", f"{first}:{second}")
    names = registry.methods()
    assert names["twice"].folder == used
    assert len(names.problems) == 1
    for part in ("twice", str(used), str(ignored), "the first is used"):
        assert part in str(names.problems[0])


def test_the_installation_wins_over_a_dropped_folder(path: Path) -> None:
    drop(path, "bicubic")
    names = registry.methods()
    assert names["bicubic"].origin == "installed"
    assert "two methods are called 'bicubic'" in str(names.problems[0])


def test_the_same_folder_twice_on_the_path_is_no_problem(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drop(path, "grey_one")
    monkeypatch.setenv("STVSR_BENCH_PATH", f"{path}:{path}")
    assert registry.methods().problems == []


def test_an_unknown_field_is_refused_with_the_nearest(path: Path) -> None:
    drop(path, "odd", card("odd", licens="MIT"))
    with pytest.raises(CardError, match=r"licens: unknown field \(nearest: licence") as caught:
        _ = registry.methods()["odd"].card
    assert str(path / "methods" / "odd" / "card.yaml") in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"version": "x"}, "version: Input should be a valid integer"),
        ({"task": "sr"}, "task: "),
        ({"status": "announced"}, "'missing' says what an announced method lacks"),
        ({"time_scales": [2]}, "task vsr: time_scales must be [1]"),
        ({"version": 2}, "version is 2, but the newest change is of version 1"),
        ({"name": "other"}, "names another method"),
        ({"entry": "method.py"}, "entry: "),
        ({"licence": None}, "licence: "),
    ],
)
def test_a_wrong_card_says_what_is_wrong(path: Path, changes: dict[str, Any], complaint: str) -> None:
    drop(path, "odd", card("odd", **changes))
    with pytest.raises(CardError) as caught:
        _ = registry.methods()["odd"].card
    assert complaint in str(caught.value)


def test_every_fault_of_a_card_is_listed_at_once(path: Path) -> None:
    facts = card("odd", task="sr", licens="MIT")
    del facts["title"]
    drop(path, "odd", facts)
    with pytest.raises(CardError) as caught:
        _ = registry.methods()["odd"].card
    for field in ("task: ", "licens: ", "title: "):
        assert field in str(caught.value)


@pytest.mark.parametrize("text", ["- a list", "a: [", "name: x\n\tb: y", "1: one", "\x00"])
def test_a_card_that_is_no_mapping_is_refused(path: Path, text: str) -> None:
    folder = drop(path, "odd")
    (folder / "card.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(CardError, match=r"card\.yaml"):
        _ = registry.methods()["odd"].card


def test_an_unknown_method_lists_three_nearest(path: Path) -> None:
    for name in ("grey_one", "grey_two", "grey_three", "grey_four", "violet"):
        drop(path, name)
    with pytest.raises(UnknownNameError) as caught:
        registry.methods()["grey_onee"]
    assert caught.value.accepted is not None
    listed = caught.value.accepted.removeprefix("nearest known: ").split(", ")
    assert len(listed) == 3
    assert listed[0] == "grey_one"
    assert "stvsr-bench list methods" in str(caught.value)


def test_a_folder_on_the_path_that_does_not_exist_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STVSR_BENCH_PATH", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="STVSR_BENCH_PATH"):
        registry.methods()


@pytest.mark.parametrize(
    ("entry", "code", "complaint"),
    [
        ("absent.py:Grey", CODE, "is missing"),
        ("method.py:Green", CODE, "lacks the class 'Green'"),
        ("method.py:CODE", "CODE = 1", "lacks the class 'CODE'"),
        ("method.py:Grey", "import nobody_has_this", "ModuleNotFoundError: No module named 'nobody_has_this'"),
        ("method.py:Grey", "class Grey(:", "SyntaxError"),
        ("nobody_has_this.x:Grey", CODE, "cannot be imported"),
    ],
)
def test_code_that_cannot_be_loaded_says_why(path: Path, entry: str, code: str, complaint: str) -> None:
    drop(path, "odd", card("odd", entry=entry), code)
    with pytest.raises(CardError) as caught:
        registry.load_entry_class(registry.methods()["odd"])
    assert complaint in str(caught.value)


def test_code_is_loaded_once_and_two_folders_do_not_share_it(path: Path) -> None:
    drop(path, "grey_one")
    drop(path, "grey_two")
    one = registry.load_entry_class(registry.methods()["grey_one"])
    assert registry.load_entry_class(registry.methods()["grey_one"]) is one
    assert registry.load_entry_class(registry.methods()["grey_two"]) is not one


def test_a_broken_entry_point_is_a_problem_and_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "broken_plug-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plug\nVersion: 1.0\n", encoding="utf-8")
    points = {"stvsr_bench.datasets": "bad = nowhere_to_be_found.x", "stvsr_bench.metrics": "worse = nowhere_found:X"}
    text = "".join(f"[{group}]\n{line}\n" for group, line in points.items())
    (info / "entry_points.txt").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    names = registry.datasets()
    assert "vid4" in names
    assert "bad" not in names
    assert [("bad" in str(p), "package broken-plug" in str(p)) for p in names.problems] == [(True, True)]
    found, problems = registry.plugin_metrics()
    assert found == []
    assert "worse" in str(problems[0])
    assert "ModuleNotFoundError" in str(problems[0])
