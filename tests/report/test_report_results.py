from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stvsr_bench.core.errors import ResultError
from stvsr_bench.report.results import find_runs, read_run


def rewrite(path: Path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_reads_what_was_written(make_run):
    run = read_run(make_run(values={"a": 25.0}, planned=["a", "b"], expected=4, protocol="bi-x4"))
    assert (run.method, run.dataset, run.protocol, run.expected, run.missing) == ("bicubic", "demo", "bi-x4", 4, ("b",))
    sample = run.samples["a"]
    assert sample.scores["psnr_y_crop4"].frames["all"].value == 25.0
    assert sample.scores["psnr_y_crop4"].per_frame == {0: 25.0, 1: 25.0, 2: 25.0}
    assert sample.restored.stages[0].peak_bytes == 2**20
    assert sample.restored.outputs == ("png", "outputs/a")


def test_a_folder_given_twice_counts_once(make_run, tmp_path):
    folder = make_run()
    make_run("lanczos")
    assert [run.method for run in find_runs([tmp_path, folder, tmp_path / "runs"]).runs] == ["bicubic", "lanczos"]


def test_temporary_files_are_never_read(make_run, tmp_path):
    folder = make_run()
    (folder / "samples" / ".tmp-x.json").write_text("{")
    (tmp_path / ".tmp-run").mkdir()
    (tmp_path / ".tmp-run" / "run.json").write_text("{")
    found = find_runs([tmp_path])
    assert not found.problems
    assert list(found.runs[0].samples) == ["a", "b"]


def test_a_newer_schema_says_upgrade_and_hides_only_its_run(make_run, tmp_path):
    rewrite(make_run() / "run.json", schema_version=2)
    make_run("lanczos")
    found = find_runs([tmp_path])
    assert [run.method for run in found.runs] == ["lanczos"]
    assert len(found.problems) == 1
    assert "upgrade" in str(found.problems[0])
    assert "version 2" in str(found.problems[0])


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"schema_version": "x"}', '{"schema_version": 1}'])
def test_a_damaged_run_file_is_named(make_run, tmp_path, text):
    path = make_run() / "run.json"
    path.write_text(text)
    make_run("lanczos")
    found = find_runs([tmp_path])
    assert [run.method for run in found.runs] == ["lanczos"]
    assert str(path) in str(found.problems[0])
    assert "run the same command again" in str(found.problems[0])


def test_a_damaged_sample_counts_as_not_done(make_run, tmp_path):
    folder = make_run()
    (folder / "samples" / "b.json").write_text('{"schema_version": 1, "sa')
    found = find_runs([tmp_path])
    assert found.runs[0].missing == ("b",)
    assert "b.json" in str(found.problems[0])
    with pytest.raises(ResultError, match=r"b\.json"):
        read_run(folder)


def test_a_value_that_is_not_finite_is_damage(make_run, tmp_path):
    path = make_run() / "samples" / "a.json"
    path.write_text(path.read_text().replace("25.0", "NaN"))
    assert "not finite" in str(find_runs([tmp_path]).problems[0])


def test_bytes_that_are_no_text_are_damage(make_run, tmp_path):
    (make_run() / "samples" / "a.json").write_bytes(b"\xff\xfe\x00")
    assert "a.json" in str(find_runs([tmp_path]).problems[0])


def test_a_folder_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(ResultError, match="no results folder"):
        find_runs([tmp_path / "nothing"])


def test_importing_the_report_loads_nothing_heavy():
    code = (
        "import sys, stvsr_bench.report, stvsr_bench.report.leaderboard, stvsr_bench.report.tables, "
        "stvsr_bench.report.latex, stvsr_bench.report.terminal, stvsr_bench.report.regression, "
        "stvsr_bench.report.timing; print({'torch', 'numpy', 'pandas', 'rich', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
