from __future__ import annotations

import csv
import io
import re

import pytest
from rich.console import Console

from stvsr_bench.report.latex import escape_latex
from stvsr_bench.report.leaderboard import build_leaderboard
from stvsr_bench.report.reported import Reported
from stvsr_bench.report.tables import CSV_COLUMNS, escape_markdown
from stvsr_bench.report.terminal import print_leaderboard
from stvsr_bench.report.timing import print_timing, timing_table

METRICS = ("psnr_y_crop4", "ssim_y_crop4", "flicker")


@pytest.fixture
def board(make_run, make_score, facts, tmp_path):
    for method, psnr in (("bicubic+blend", 24.0), ("bicubic+dis_flow", 24.756), ("nearest+repeat", 22.0)):
        clips = {
            name: {
                "psnr_y_crop4": make_score(psnr + i, psnr + i + 1, psnr + i - 1),
                "ssim_y_crop4": make_score((psnr + i) / 40, 0.7, 0.5),
                "flicker": make_score(0.95),
            }
            for i, name in enumerate("ab")
        }
        make_run(method, clips, dataset="vid4[first31]", metrics=METRICS)
    make_run("big_100%", {"a": 40.0}, dataset="vid4[first31]", untrained=True, expected=2)
    return build_leaderboard([tmp_path / "runs"], facts=facts, reported={})


def render(width, function, *args):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    function(*args[:1], console, *args[1:])
    return console.file.getvalue()


def test_csv_has_one_row_for_each_number(board):
    rows = list(csv.DictReader(io.StringIO(board.to_csv())))
    assert tuple(rows[0]) == CSV_COLUMNS
    row = next(r for r in rows if r["method"] == "bicubic+dis_flow" and r["metric"] == "psnr_y_crop4")
    assert (row["mean"], row["ci95_low"], row["ci95_high"]) == ("25.256000", "24.756000", "25.756000")
    assert (row["n"], row["expected"], row["rank"], row["frames"], row["better"]) == ("2", "2", "1", "all", "higher")
    assert (row["reported"], row["reported_source"]) == ("", "")
    assert "\r" not in board.to_csv()


def test_markdown_marks_best_and_second(board):
    text = board.to_markdown(["psnr_y_crop4"])
    lines = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.startswith("| ")}
    assert "| 2/2 | **25.26** [24.76, 25.76] | **26.26** | **24.26** |" in lines["bicubic+dis_flow"]
    assert "| *24.50* [24.00, 25.00] | *25.50* | *23.50* |" in lines["bicubic+blend"]
    assert "| 1/2 | 40.00 | – | – |" in lines["big_100% <sup>i,u</sup>"]
    assert "u: untrained parameters: not ranked" in text
    assert "psnr_y_crop4 ↑ (dB), interpolated" in text
    assert text.startswith("### vid4\\[first31\\] · bi-x4t2 (version 1)")
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1


def test_a_lone_row_is_not_called_best(make_run, facts, tmp_path):
    make_run()
    assert "**" not in build_leaderboard([tmp_path], facts=facts, reported={}).to_markdown()


def test_reported_values_have_a_table_of_their_own(make_run, facts, tmp_path):
    make_run()
    key = ("demo", "bi-x4t2", "bicubic", "psnr_y_crop4", "all")
    text = build_leaderboard([tmp_path], facts=facts, reported={key: Reported(26.0, "A|B, table 2", "")}).to_markdown()
    assert "| bicubic | psnr_y_crop4 | 26.00 | 26.00 | A\\|B, table 2 | within 0.05 dB of reported |" in text


def test_latex_is_balanced_booktabs(board):
    text = board.to_latex(["psnr_y_crop4", "flicker"])
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert text.count(rule) == 1
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert r"\multicolumn{3}{c}{psnr\_y\_crop4 $\uparrow$ (dB)} & \multicolumn{1}{c}{flicker $\uparrow$}" in text
    assert r"\cmidrule(lr){3-5}" in text
    assert r"\cmidrule(lr){6-6}" in text
    assert r"bicubic+dis\_flow & 2/2 & \textbf{25.26} & \textbf{26.26} & \textbf{24.26}" in text
    assert r"bicubic+blend & 2/2 & \underline{24.50}" in text
    assert r"big\_100\%\textsuperscript{i,u} & 1/2 & 40.00 & -- & -- & -- \\" in text
    assert r"\caption{vid4{[}first31{]}" in text
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    columns = {len(re.findall(r"(?<!\\)&", line)) for line in body.splitlines() if line.endswith(r"\\")}
    assert columns == {5}
    assert re.search(r"\\begin\{tabular\}\{lr{5}\}", text)


def test_latex_escapes_everything_special():
    assert escape_latex(r"_%&#^~\${}") == (r"\_\%\&\#\textasciicircum{}\textasciitilde{}\textbackslash{}\$\{\}")
    assert escape_latex("a--b") == "a-{}-b"
    assert escape_latex("x\ny") == "x y"


def test_a_latex_row_never_starts_with_a_bare_bracket_or_star(make_run, facts, tmp_path):
    make_run("[odd]")
    make_run("*star")
    text = build_leaderboard([tmp_path], facts=facts, reported={}).to_latex()
    assert "\n{[}odd{]} & " in text
    assert "\n{*}star & " in text


def test_markdown_escapes_what_would_be_markup():
    assert escape_markdown("a|b*c_d_ <x> `y` [z] \\") == "a\\|b\\*c_d\\_ &lt;x> \\`y\\` \\[z\\] \\\\"


def test_terminal_shows_one_wide_table_where_it_fits(board):
    text = render(120, print_leaderboard, board)
    assert text.count("vid4[first31] · bi-x4t2 (version 1)") == 1
    assert "interp." in text
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("width", [80, 70])
def test_terminal_splits_by_frames_where_it_is_narrow(board, width):
    text = render(width, print_leaderboard, board)
    for frames in ("all", "key", "interpolated"):
        assert f"bi-x4t2 (version 1) · {frames} frames" in text
    assert max(map(len, text.splitlines())) <= width
    for value in ("25.26", "26.26", "24.26", "0.9500"):
        assert value in text
    assert "…" not in text


def test_terminal_chooses_metrics_and_says_which_it_hides(make_run, make_score, facts, tmp_path):
    metrics = ("psnr_y_crop4", "ssim_y_crop4", "lpips", "flicker")
    make_run(values={"a": {metric: make_score(0.5) for metric in metrics}}, metrics=metrics)
    board = build_leaderboard([tmp_path], facts=facts, reported={})
    text = render(100, print_leaderboard, board)
    assert "3 of 4 metrics shown; the others: --metrics all" in text
    assert "flicker" in text
    assert "flicker" not in render(100, print_leaderboard, board, ["lpips"]).splitlines()[1]


def test_terminal_shows_problems_and_emptiness(tmp_path, make_run, facts):
    (make_run() / "run.json").write_text("{")
    text = render(300, print_leaderboard, build_leaderboard([tmp_path], facts=facts, reported={}))
    assert "No runs found." in text
    assert "not valid JSON" in text


def test_metrics_without_any_value_are_named_below(make_run, make_score, facts, tmp_path):
    scores = {"psnr_y_crop4": make_score(None), "flicker": make_score(0.9)}
    make_run(values={"a": scores}, metrics=("psnr_y_crop4", "flicker"))
    board = build_leaderboard([tmp_path], facts=facts, reported={})
    assert "psnr_y_crop4: no ground truth" in render(100, print_leaderboard, board)
    assert "\npsnr_y_crop4: no ground truth" in board.to_markdown()


def test_timing_is_a_table_of_its_own(make_run, tmp_path):
    make_run(seconds=3.0)
    rows = timing_table([tmp_path]).rows
    # Two clips of 3 output frames; the stages took 3 s and 6 s for each clip.
    assert [(r.stage, r.seconds_per_frame, r.peak_mib, r.n) for r in rows] == [
        ("restore/vsr", 1.0, 1.0, 2),
        ("restore/vfi", 2.0, None, 2),
        ("total", 3.0, 1.0, 2),
    ]
    lines = timing_table([tmp_path]).to_csv().splitlines()
    assert lines[0] == "dataset,protocol,method,settings,seed,device,stage,seconds_per_frame,peak_mib,n"
    assert lines[1] == "demo,bi-x4t2,bicubic,,0,cpu,restore/vsr,1.000000,1.0,2"
    console = Console(width=100, file=io.StringIO(), color_system=None)
    assert print_timing([tmp_path], console).rows == tuple(rows)
    assert "restore/vfi" in console.file.getvalue()


def test_timing_keeps_devices_apart(make_run, tmp_path):
    make_run(run_id="r0", seconds=3.0)
    make_run(run_id="r1", seconds=0.3, device="cuda:0")
    rows = [r for r in timing_table([tmp_path]).rows if r.stage == "total"]
    assert [(r.device, pytest.approx(r.seconds_per_frame)) for r in rows] == [("cpu", 3.0), ("cuda:0", 0.3)]
