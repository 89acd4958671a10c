"""The groups of conf/metrics: known ids, the papers' metrics, everything in `all`, and the page that explains them."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from stvsr_bench.core.errors import UnknownNameError
from stvsr_bench.metrics.catalog import CATALOG
from stvsr_bench.metrics.groups import group_ids, known_groups, parse_metrics

PAPERS = {
    "diffst": "psnr ssim lpips dists clipiqa musiq maniqa dover tof tlp flolpips",
    "osdenhancer": "psnr ssim lpips flolpips musiq clipiqa fastervqa dover",
    "star": "psnr ssim lpips dover e_warp ilniqe",
    "diffvsr": "psnr ssim clipiqa musiq dover nrqm e_warp bc tf",
    "ultravsr": "psnr ssim musiq clipiqa maniqa dover",
}
"""What the tables of each paper print."""
FAMILY = {"e_warp": "ewarp_", "bc": "vbench_background_consistency", "tf": "vbench_temporal_flickering"}


@pytest.fixture
def page(repository: Path) -> str:
    """The page of metrics."""
    return (repository / "docs" / "metrics.md").read_text(encoding="utf-8")


def test_the_groups_are_there() -> None:
    assert {"fast", "all", "default", *PAPERS} <= set(known_groups())


@pytest.mark.parametrize("name", known_groups())
def test_every_group_lists_known_ids_once(name: str) -> None:
    ids = group_ids(name)
    assert ids
    assert len(ids) == len(set(ids))
    assert [identifier for identifier in ids if identifier not in CATALOG] == []  # ids, not aliases
    assert list(parse_metrics(name)) == ids


def test_all_lists_every_metric() -> None:
    assert group_ids("all") == list(CATALOG)


def test_the_default_and_fast_groups_need_nothing_more() -> None:
    """They run everywhere: no weights, no extra, no program."""
    for name in ("default", "fast"):
        for info in map(CATALOG.__getitem__, group_ids(name)):
            assert (info.weights, info.needs, info.program) == ((), (), None), info.id


@pytest.mark.parametrize("paper", PAPERS)
def test_a_papers_group_has_one_variant_of_each_of_its_metrics(paper: str) -> None:
    ids = group_ids(paper)
    printed = PAPERS[paper].split()
    of = {metric: [i for i in ids if i.startswith(FAMILY.get(metric, metric))] for metric in printed}
    undecided = {"clipiqa"} if paper == "diffvsr" else set()
    assert {metric for metric, found in of.items() if len(found) != 1} == undecided
    assert sorted(i for found in of.values() for i in found) == sorted(ids)


@pytest.mark.parametrize("paper", PAPERS)
def test_what_a_paper_prints_is_what_its_reported_tables_hold(paper: str, shared_reported: Path) -> None:
    with (shared_reported / f"{paper}.csv").open(newline="") as file:
        metrics = {row["metric"] for row in csv.DictReader(file)}
    costs = {name for name in metrics if name.startswith(("steps", "runtime", "params"))}
    assert metrics - costs == set(PAPERS[paper].split())


def test_the_page_explains_every_group_and_lists_every_metric(page: str) -> None:
    for name in known_groups():
        row = re.search(rf"^\| `{name}` \| (.*?) \|", page, re.MULTILINE)
        assert row is not None, name
        if name != "all":
            assert re.findall(r"`([^`]+)`", row[1]) == group_ids(name)
    listed = re.findall(r"^\| `([^`]+)` \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$", page, re.MULTILINE)
    rows = {name: (unit, better, needs, licence) for name, unit, better, needs, licence in listed}
    assert list(rows) == list(CATALOG)
    for info in CATALOG.values():
        better = "higher" if info.higher_is_better else "lower"
        needs = [*(f"`{weight}`" for weight in info.weights), *info.needs, *([info.program] if info.program else [])]
        assert rows[info.id] == (info.unit, better, ", ".join(needs) or "–", info.licence), info.id


def test_an_unknown_name_lists_groups_too() -> None:
    with pytest.raises(UnknownNameError, match="diffst"):
        parse_metrics("difst")


def test_unknown_groups_name_the_nearest_and_where_to_look() -> None:
    with pytest.raises(UnknownNameError, match="unknown metrics group 'defalt'; accepted: nearest known: default"):
        group_ids("defalt")
    with pytest.raises(UnknownNameError):
        group_ids("auto")  # stands for a group, and is none
    with pytest.raises(UnknownNameError, match=r"see `stvsr-bench list metrics` and docs/metrics\.md"):
        parse_metrics("psmr")
