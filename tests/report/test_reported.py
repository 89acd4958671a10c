from __future__ import annotations

import pytest

from stvsr_bench.core.errors import ResultError
from stvsr_bench.core.paths import conf_dir
from stvsr_bench.metrics.catalog import CATALOG
from stvsr_bench.report.reported import COLUMNS, Reported, read_reported, verdict

HEAD = ",".join(COLUMNS) + "\n"
ROW = "vid4[full],bi-x4,bicubic,psnr_y_crop0,all,23.78,a paper,a note\n"


def test_reads_rows(tmp_path):
    (tmp_path / "x.csv").write_text(HEAD + ROW)
    key = ("vid4[full]", "bi-x4", "bicubic", "psnr_y_crop0", "all")
    assert read_reported(tmp_path) == {key: Reported(23.78, "a paper", "a note")}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "an empty file"),
        (HEAD.replace("note", "notes") + ROW, "columns"),
        (HEAD.replace(",note", ",note,extra") + ROW, "columns"),
        (HEAD + ROW.replace("23.78", "n/a"), "no number"),
        (HEAD + ROW.replace("23.78", "nan"), "no number"),
        (HEAD + ROW.replace("all", "some"), "unknown frames"),
        (HEAD + ROW.replace("a paper", " "), "no source"),
        (HEAD + ROW.replace("a note", "a, note"), "not 8 fields"),
        (HEAD + ROW.replace(",a note", ""), "not 8 fields"),
        (HEAD + ROW + ROW.replace("23.78", "23.79"), "again"),
    ],
)
def test_refuses_what_it_does_not_understand(tmp_path, text, says):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ResultError, match=says):
        read_reported(tmp_path)


def test_the_installed_tables_name_known_protocols_and_metrics():
    rows = read_reported()
    assert rows["vid4[full]", "bi-x4", "bicubic", "psnr_y_crop0", "all"].value == 23.78
    for _, protocol, _, metric, _ in rows:
        assert (conf_dir() / "protocol" / f"{protocol}.yaml").is_file()
        assert metric in CATALOG


@pytest.mark.parametrize(
    ("measured", "unit", "reported", "words"),
    [
        (23.83, "dB", 23.78, "within 0.05 dB of reported"),
        (23.84, "dB", 23.78, "differs by +0.06 dB"),
        (0.6333, "", 0.6347, "within 0.5% of reported"),
        (0.6200, "", 0.6347, "differs by −0.0147"),
        (0.50, "px/frame", 0.40, "differs by +0.1000 px/frame"),
    ],
)
def test_verdict(measured, unit, reported, words):
    assert verdict(measured, unit, Reported(reported, "s", "")) == words
