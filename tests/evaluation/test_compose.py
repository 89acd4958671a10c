"""Options as people type them, and errors that say what is accepted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stvsr_bench.core.errors import ConfigError, UnknownNameError
from stvsr_bench.evaluation.compose import compose, quote_override

ODD_NAMES = (
    "my clips",
    "a,b",
    "x=y",
    "walk (1)",
    "~tilde",
    "Zürich_日本",
    "it's",
    'say "hi"',
    "back\\slash",
    "end\\",
    "${oc.env:HOME}",
    "{braces}",
    "[list]",
    "#hash",
    "100%",
    "a: b",
    "null_",
    " lead",
)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_paths_need_no_quoting(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    config = compose(["method=bicubic", "dataset=folder", f"dataset.root={path}", f"results_dir={path}/runs"])
    assert config["dataset"]["root"] == str(path)
    assert config["results_dir"] == str(path / "runs")


def test_clips_and_frames_of_a_trial_need_no_quoting() -> None:
    """A comma belongs to the value, in a sweep too."""
    config = compose(["method=bicubic", "dataset=demo", "dataset.clips=pan,zoom (1)", "dataset.frames=0:9:2"])
    assert config["dataset"]["clips"] == "pan,zoom (1)"
    assert config["dataset"]["frames"] == "0:9:2"
    assert compose(["method=bicubic", "dataset=demo", "dataset.clips=null"])["dataset"]["clips"] is None


def test_paths_are_the_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert quote_override("dataset.root=sub/../clips") == f"dataset.root='{tmp_path}/clips'"
    assert quote_override("dataset.root=~/clips (2)") == "dataset.root='/home/someone/clips (2)'"
    assert quote_override('dataset.root="/a b"') == "dataset.root='/a b'"
    assert quote_override("+method.vsr_options.weights_path=/a,b") == "+method.vsr_options.weights_path='/a,b'"
    for untouched in ("seed=1,2", "method=bicubic", "--multirun", "dataset.root=", "dataset.root=null"):
        assert quote_override(untouched) == untouched


@pytest.mark.parametrize(
    ("overrides", "error", "says"),
    [
        (["method=bicubc", "dataset=demo"], UnknownNameError, ["unknown method 'bicubc'", "nearest known: bicubic"]),
        (["method=bicubic", "dataset=dmo"], UnknownNameError, ["unknown dataset 'dmo'", "demo"]),
        (["method=bicubic", "dataset=demo", "protocol=bi-x5"], UnknownNameError, ["unknown protocol", "bi-x4"]),
        (["method=bicubic", "dataset=demo", "metrics=defalt"], UnknownNameError, ["unknown metrics", "default"]),
        (["dataset=demo"], ConfigError, ["'method' is not given", "stvsr-bench list methods"]),
        (["method=bicubic"], ConfigError, ["'dataset' is not given"]),
        (["method=bicubic", "dataset=demo", "method.scal=4"], ConfigError, ["'method.scal'", "method.scale"]),
        (["method=bicubic", "dataset=demo", "sed=4"], ConfigError, ["'sed'", "seed"]),
        (["method=bicubic", "dataset=demo", "dataset.rot=x"], ConfigError, ["'dataset.rot'", "dataset.root"]),
        (["method=bicubic", "dataset=demo", "metrics.ids=[a"], ConfigError, ["cannot be understood"]),
        (["method=bicubic", "dataset=folder"], ConfigError, ["'dataset.root' is not given"]),
        (["method=bicubic", "dataset=demo", "results"], ConfigError, ["KEY=VALUE"]),
    ],
)
def test_wrong_options_say_what_is_accepted(overrides: list[str], error: type[Exception], says: list[str]) -> None:
    with pytest.raises(error) as caught:
        compose(overrides)
    for text in says:
        assert text in str(caught.value)


def test_no_litter_and_cfg(call: Callable[..., Any], tmp_path: Path) -> None:
    answer = call("run", "method=bicubic", "dataset=demo", "--cfg", "job")
    assert answer.status == 0
    assert "results_dir: results/runs" in answer.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("stvsr-bench ru", "run"),
        ("stvsr-bench run method=bicub", "method=bicubic"),
        ("stvsr-bench run method=bicubic dataset=de", "dataset=demo"),
        ("stvsr-bench run method=bicubic dataset=demo protocol=bi-x4t", "protocol=bi-x4t2"),
        ("stvsr-bench run method=bicubic dataset=demo keep_out", "keep_outputs="),
        ("stvsr-bench run method=cascade dataset=demo method.v", "method.vsr="),
    ],
)
def test_completion(line: str, expected: str, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    answer = call("-sc", "query=bash")
    assert answer.status == 0
    assert expected in answer.out.split()


def test_completion_can_be_installed(call: Callable[..., Any]) -> None:
    answer = call("--shell-completion", "install=bash")
    assert answer.status == 0
    assert "complete -o nospace" in answer.out
