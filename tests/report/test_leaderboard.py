from __future__ import annotations

import json
import shutil

import pytest

from stvsr_bench.core.errors import ResultError, UnknownNameError
from stvsr_bench.report.facts import MetricFacts, installed_facts
from stvsr_bench.report.leaderboard import build_leaderboard
from stvsr_bench.report.reported import Reported


@pytest.fixture
def board(tmp_path, facts):
    def build(*folders, reported=None):
        return build_leaderboard(folders or [tmp_path / "runs"], facts=facts, reported=reported or {})

    return build


def one(board, **wanted):
    rows = [r for r in board.rows if all(getattr(r, key) == value for key, value in wanted.items())]
    assert len(rows) == 1, rows
    return rows[0]


def test_a_complete_row(make_run, board):
    make_run(values={"a": 25.0, "b": 27.5})
    row = one(board(), method="bicubic")
    assert (row.mean, row.n, row.expected, row.rank, row.flags) == (26.25, 2, 2, 1, ())
    assert (row.low, row.high) == (25.0, 27.5)
    assert row.verdict == "no reported value"


def test_rank_follows_the_direction_and_equal_means_share_it(make_run, make_score, board):
    for method, psnr, lpips in (("a", 25.0, 0.3), ("b", 27.0, 0.2), ("c", 25.0, 0.1), ("d", 20.0, 0.4)):
        scores = {"psnr_y_crop4": make_score(psnr), "lpips": make_score(lpips)}
        make_run(method, {"x": scores}, metrics=("psnr_y_crop4", "lpips"))
    rows = board().rows
    assert [(r.method, r.rank) for r in rows if r.metric == "psnr_y_crop4"] == [("b", 1), ("a", 2), ("c", 2), ("d", 4)]
    assert [(r.method, r.rank) for r in rows if r.metric == "lpips"] == [("c", 1), ("b", 2), ("a", 3), ("d", 4)]


def test_other_settings_are_never_ranked_together(make_run, board):
    make_run("a", {"x": 20.0})
    make_run("b", {"x": 30.0}, protocol="bi-x4t4")
    make_run("c", {"x": 40.0}, dataset="demo[small]")
    assert [row.rank for row in board().rows] == [1, 1, 1]


def test_metric_versions_are_kept_apart(make_run, make_score, board):
    make_run("a", {"x": {"psnr_y_crop4": make_score(20.0)}})
    make_run("b", {"x": {"psnr_y_crop4": make_score(30.0, version=2)}})
    assert [(r.method, r.metric_version, r.rank) for r in board().rows] == [("a", 1, 1), ("b", 2, 1)]


@pytest.mark.parametrize(
    ("fields", "flags", "verdict"),
    [
        ({"expected": 4}, ("incomplete",), "incomplete: 2 of 4 clips"),
        ({"planned": ["a", "b", "c"]}, ("incomplete",), "incomplete: 2 of 3 clips"),
        ({"failed": ["c"]}, ("incomplete", "failed"), "incomplete: 2 of 3 clips"),
        ({"partial": "dataset.limit=2", "expected": 4}, ("partial",), "partial: dataset.limit=2"),
        ({"partial": "dataset.limit=2"}, ("partial",), "partial: dataset.limit=2"),
        ({"untrained": True}, ("untrained",), "untrained parameters"),
        ({"preset": "tiny"}, ("untrained",), "untrained parameters"),
    ],
)
def test_what_is_never_ranked(make_run, board, fields, flags, verdict):
    make_run("best", {"a": 50.0, "b": 50.0}, **fields)
    make_run("plain", {"a": 20.0, "b": 20.0})
    built = board()
    row = one(built, method="best")
    assert (row.rank, row.flags, row.verdict, row.mean) == (None, flags, verdict, 50.0)
    assert one(built, method="plain").rank == 1


def test_a_run_without_any_finished_clip_is_shown(make_run, board):
    make_run(values={}, planned=["a", "b"])
    row = one(board(), metric="psnr_y_crop4")
    assert (row.mean, row.low, row.n, row.expected, row.rank) == (None, None, 0, 2, None)
    assert row.verdict == "incomplete: 0 of 2 clips"


def test_mixed_provenance_is_marked_and_ranked(make_run, board):
    make_run(devices={"a": "cpu", "b": "cuda:0"})
    row = one(board(), method="bicubic")
    assert (row.flags, row.rank) == (("mixed",), 1)


def test_equal_runs_on_two_devices_are_not_mixed(make_run, board):
    make_run(run_id="r0", device="cpu")
    make_run(run_id="r1", device="cuda:0")
    assert one(board(), method="bicubic").flags == ()


def test_no_ground_truth_is_no_defect(make_run, make_score, board):
    scores = {"psnr_y_crop4": make_score(None), "flicker": make_score(0.97)}
    make_run(values={"a": scores, "b": scores}, metrics=("psnr_y_crop4", "flicker"))
    built = board()
    psnr = one(built, metric="psnr_y_crop4")
    assert (psnr.mean, psnr.rank, psnr.flags, psnr.verdict) == (None, None, (), "no ground truth")
    assert one(built, metric="flicker").rank == 1


def test_a_clip_without_a_finite_value_makes_its_metric_incomplete(make_run, make_score, board):
    infinite = {"psnr_y_crop4": make_score(None, reason="identical"), "ssim_y_crop4": make_score(1.0)}
    finite = {"psnr_y_crop4": make_score(30.0), "ssim_y_crop4": make_score(0.9)}
    make_run(values={"a": infinite, "b": finite}, metrics=("psnr_y_crop4", "ssim_y_crop4"))
    built = board()
    assert (one(built, metric="psnr_y_crop4").n, one(built, metric="psnr_y_crop4").rank) == (1, None)
    assert one(built, metric="ssim_y_crop4").rank == 1


def test_frames_are_split_only_where_frames_are_interpolated(make_run, make_score, board):
    make_run("vfi", {"a": {"psnr_y_crop4": make_score(25.0, 26.0, 23.0)}})
    make_run("vsr", {"a": {"psnr_y_crop4": make_score(25.0, 25.0, None)}}, protocol="bi-x4")
    rows = [(r.method, r.frames, r.mean) for r in board().rows]
    assert rows == [("vsr", "all", 25.0), ("vfi", "all", 25.0), ("vfi", "key", 26.0), ("vfi", "interpolated", 23.0)]


def test_an_unknown_metric_is_shown_but_not_ranked(make_run, make_score, board):
    make_run(values={"a": {"foreign": make_score(3.0)}}, metrics=("foreign",))
    row = one(board(), metric="foreign")
    assert (row.mean, row.rank, row.higher_is_better) == (3.0, None, None)


def test_copies_count_once(make_run, board, tmp_path):
    folder = make_run()
    before = board().to_csv()
    shutil.copytree(folder, tmp_path / "runs" / "copied")
    assert board().to_csv() == before


def test_runs_that_share_the_work_are_joined(make_run, board):
    make_run(values={"a": 25.0}, planned=["a", "b"], run_id="r0")
    make_run(values={"b": 27.0}, planned=["a", "b"], run_id="r1")
    row = one(board(), method="bicubic")
    assert (row.mean, row.n, row.rank) == (26.0, 2, 1)


def test_shared_work_gives_the_bytes_of_one_run(make_run, board, tmp_path):
    values = {f"clip{i}": 20.0 + (i * 37 % 23) ** 1.5 / 7 for i in range(10)}
    make_run(values=values, root="one")
    for start in (1, 0):
        part = {name: values[name] for name in list(values)[start::2]}
        make_run(values=part, planned=list(values), root="two", run_id=f"r{start}")
    assert board(tmp_path / "one").to_csv() == board(tmp_path / "two").to_csv()


def test_conflicts_are_numbered_by_content_not_by_folder(make_run, board, tmp_path):
    opinions = [({"a": 25.0 + i}, f"h{i}") for i in range(4)]
    for root, order in (("one", opinions), ("two", opinions[::-1])):
        for number, (values, hashes) in enumerate(order):
            make_run(values=values, hashes=hashes, root=root, run_id=f"r{number}")
    assert board(tmp_path / "one").to_csv() == board(tmp_path / "two").to_csv()


def test_a_trial_disappears_in_the_full_run(make_run, board):
    make_run(values={"a": 25.0}, partial="dataset.limit=1", expected=2, run_id="trial")
    make_run(run_id="full")
    assert one(board(), method="bicubic").flags == ()


def test_another_opinion_is_a_conflict(make_run, board):
    make_run(values={"a": 25.0, "b": 27.0}, run_id="r0")
    make_run(values={"a": 25.0, "b": 28.0}, run_id="r1", hashes="other")
    rows = board().rows
    assert [(r.flags, r.rank, r.verdict) for r in rows] == [(("conflict",), None, "conflicting runs")] * 2
    assert [r.settings for r in rows] == ["copy 1", "copy 2"]
    assert sorted(r.mean for r in rows) == [26.0, 26.5]


def test_options_that_differ_tell_rows_apart_and_paths_never_show(make_run, board):
    make_run(values={"a": 25.0}, run_id="r0", knobs={"radius": 1, "same": 3, "dir": "/secret/one"})
    make_run(values={"a": 26.0}, run_id="r1", knobs={"radius": 2, "same": 3, "dir": "/secret/two"}, hashes="x")
    built = board()
    assert {row.settings: row.rank for row in built.rows} == {"radius=2": 1, "radius=1": 2}
    assert "secret" not in built.to_csv()


def test_seeds_have_rows_of_their_own(make_run, board):
    make_run(values={"a": 25.0}, run_id="r0", seed=0)
    make_run(values={"a": 26.0}, run_id="r1", seed=1, hashes="x")
    assert [(row.seed, row.rank) for row in board().rows] == [(1, 1), (0, 2)]


def test_tables_hold_no_time_path_device_or_run_id(make_run, make_score, board, tmp_path):
    """Equal results, made elsewhere, at another pace, in another order, give equal bytes."""
    methods = [("bicubic", 25.1), ("lanczos", 25.3), ("nearest", 22.9)]

    def build(root, order, **other):
        for method, value in order:
            scores = {n: {"psnr_y_crop4": make_score(value + i, value, value - 1)} for i, n in enumerate("abc")}
            items = dict(sorted(scores.items(), reverse=bool(other)))
            make_run(method, items, root=root, planned=list("abc"), **other)
        built = board(tmp_path / root)
        return built.to_csv(), built.to_markdown(), built.to_latex()

    first = build("one", methods)
    second = build("two", methods[::-1], run_id="zz", seconds=9.0, device="cuda:7", commit="abc")
    assert first == second
    assert first[0].count("\n") == 10


def test_reported_and_measured_stand_side_by_side(make_run, board):
    key = ("demo", "bi-x4t2", "bicubic", "psnr_y_crop4", "all")
    make_run(values={"a": 25.0, "b": 27.0})
    row = one(board(reported={key: Reported(26.31, "Doe 2020, table 1", "")}), method="bicubic")
    assert (row.mean, row.reported.value, row.verdict) == (26.0, 26.31, "differs by −0.31 dB")
    row = one(board(reported={key: Reported(25.97, "Doe 2020, table 1", "")}), method="bicubic")
    assert row.verdict == "within 0.05 dB of reported"


def test_unreadable_runs_are_collected(make_run, board):
    make_run()
    (make_run("lanczos") / "run.json").write_text("{")
    built = board()
    assert [row.method for row in built.rows] == ["bicubic"]
    assert isinstance(built.problems[0], ResultError)


def test_unknown_metrics_list_the_nearest(make_run, board):
    make_run()
    with pytest.raises(UnknownNameError, match="psnr_y_crop4"):
        board().to_markdown(["psnr_y_crop"])


def test_intervals_of_equal_values_are_equal(make_run, board):
    make_run("a", {"x": 20.0, "y": 25.0, "z": 21.0})
    make_run("b", {"x": 20.0, "y": 25.0, "z": 21.0})
    first, second = board().rows
    assert (first.low, first.high) == (second.low, second.high)


def test_installed_facts_cover_the_catalogue():
    facts = installed_facts()
    assert facts["psnr_y_crop4"] == MetricFacts("dB", True, 1, True)
    assert not facts["vbench_temporal_flickering"].needs_gt


def test_a_sample_json_of_another_schema_is_a_missing_clip(make_run, board):
    path = make_run() / "samples" / "a.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 7}))
    built = board()
    assert one(built, method="bicubic").flags == ("incomplete",)
    assert "upgrade" in str(built.problems[0])
