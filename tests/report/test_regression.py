from __future__ import annotations

import json

import pytest

from stvsr_bench.core.errors import ConfigError, ResultError
from stvsr_bench.report.regression import (
    Golden,
    GoldenKey,
    compare,
    current_values,
    read_golden,
    update,
    write_golden,
)
from stvsr_bench.report.results import find_runs

PSNR = GoldenKey("bicubic", "demo@1", "bi-x4t2@1", "psnr_y_crop4@1", "all", "a")
SSIM = PSNR._replace(metric="ssim_y_crop4@1")
OTHER = PSNR._replace(metric="flicker@1")
VALUES = {PSNR: 25.0, SSIM: 0.7, OTHER: 0.9, PSNR._replace(sample="b"): None}
GOLDEN = update(Golden("the demo suite"), VALUES, "first values", "2026-01-01")


def test_a_repeated_clean_run_passes():
    assert compare(GOLDEN, dict(VALUES)) == []


@pytest.mark.parametrize(
    ("key", "value", "passes"),
    [
        (PSNR, 25.0049, True), (PSNR, 24.9951, True), (PSNR, 25.0051, False), (PSNR, 24.9949, False),
        (SSIM, 0.70004, True), (SSIM, 0.70006, False), (SSIM, 0.69994, False),
        (OTHER, 0.9 + 9e-7, True), (OTHER, 0.9 + 2e-6, False),
        (PSNR, None, False), (PSNR._replace(sample="b"), 99.0, False),
    ],
)  # fmt: skip
def test_changes_count_in_both_directions(key, value, passes):
    differences = compare(GOLDEN, {**VALUES, key: value})
    assert [d.kind for d in differences] == ([] if passes else ["changed"])
    if not passes:
        assert differences[0].key == key


def test_missing_and_new_values_are_differences():
    missing = {key: value for key, value in VALUES.items() if key != SSIM}
    assert [(d.kind, d.key) for d in compare(GOLDEN, missing)] == [("missing", SSIM)]
    new = PSNR._replace(method="lanczos")
    assert [(d.kind, d.key) for d in compare(GOLDEN, {**VALUES, new: 26.0})] == [("new", new)]


def test_a_metric_version_is_not_compared_with_another():
    newer = {key._replace(metric="psnr_y_crop4@2") if key == PSNR else key: value for key, value in VALUES.items()}
    assert [d.kind for d in compare(GOLDEN, newer)] == ["missing", "new"]


def test_a_metric_without_a_tolerance_must_be_equal():
    golden = Golden("s", tolerances={"psnr_*": 0.005}, values={OTHER: 0.9})
    assert compare(golden, {OTHER: 0.9}) == []
    assert compare(golden, {OTHER: 0.9 + 1e-12})


def test_differences_say_what_moved():
    text = str(compare(GOLDEN, {**VALUES, PSNR: 25.1})[0])
    assert "bicubic demo@1 bi-x4t2@1 psnr_y_crop4@1 all a" in text
    assert "25.000000 → 25.100000 (+0.1, tolerance 0.005)" in text


def test_round_trip(tmp_path):
    write_golden(tmp_path / "demo.json", GOLDEN)
    assert read_golden(tmp_path / "demo.json") == GOLDEN
    content = json.loads((tmp_path / "demo.json").read_text())
    assert next(iter(content)) == "schema_version"
    assert content["history"] == [{"date": "2026-01-01", "reason": "first values"}]
    text = (tmp_path / "demo.json").read_text()
    assert sum('"values"' in line for line in text.splitlines()) == len({key[:-1] for key in VALUES})
    write_golden(tmp_path / "again.json", read_golden(tmp_path / "demo.json"))
    assert (tmp_path / "again.json").read_text() == text


def test_an_empty_golden_file_is_valid_json(tmp_path):
    write_golden(tmp_path / "demo.json", Golden("s"))
    assert read_golden(tmp_path / "demo.json").values == {}


def test_update_needs_a_reason_and_keeps_the_history():
    for empty in ("", "  \n"):
        with pytest.raises(ConfigError, match="reason"):
            update(GOLDEN, {PSNR: 1.0}, empty, "2026-02-02")
    updated = update(GOLDEN, {**VALUES, PSNR: 26.0}, " a better kernel ", "2026-02-02")
    assert updated.values[PSNR] == 26.0
    assert updated.history == (("2026-01-01", "first values"), ("2026-02-02", "a better kernel"))
    assert update(GOLDEN, dict(VALUES), "nothing changed", "2026-02-02") is GOLDEN


def test_update_never_empties_the_golden_values():
    with pytest.raises(ResultError, match="no values"):
        update(GOLDEN, {}, "oops", "2026-02-02")


def test_values_come_from_runs_and_a_planted_change_is_seen(make_run, tmp_path):
    make_run(values={"a": 25.0, "b": 27.0}, root="clean")
    make_run(values={"a": 25.0, "b": 26.9}, root="shifted")
    clean = current_values(find_runs([tmp_path / "clean"]).runs)
    assert clean[PSNR] == 25.0
    golden = update(Golden("s"), clean, "first", "2026-01-01")
    assert compare(golden, clean) == []
    shifted = current_values(find_runs([tmp_path / "shifted"]).runs)
    assert [d.key.sample for d in compare(golden, shifted)] == ["b"]


def test_one_method_run_in_two_ways_is_refused(make_run, tmp_path):
    make_run(run_id="r0", knobs={"radius": 1})
    make_run(run_id="r1", knobs={"radius": 2})
    with pytest.raises(ResultError, match="more than one way"):
        current_values(find_runs([tmp_path]).runs)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "valid JSON"),
        ("[]", "not a golden file"),
        ('{"schema_version": 1}', "not a golden file"),
        ('{"schema_version": 9}', "newer"),
    ],
)
def test_damaged_golden_files(tmp_path, text, says):
    (tmp_path / "demo.json").write_text(text)
    with pytest.raises(ResultError, match=says):
        read_golden(tmp_path / "demo.json")


def test_an_absent_golden_file_says_how_to_make_it(tmp_path):
    with pytest.raises(ResultError, match="--update"):
        read_golden(tmp_path / "demo.json")
