"""Every protocol has a page, and the page says what the protocol is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stvsr_bench.core import registry
from stvsr_bench.data.frame_rules import ALL, parse_windows
from stvsr_bench.data.protocol import Protocol, known_protocols, load_protocol
from stvsr_bench.degradation.registry import DEGRADATIONS
from stvsr_bench.metrics.groups import group_ids
from stvsr_bench.metrics.registry import metric_info

PAGES = Path(__file__).resolve().parents[1] / "docs" / "protocols"


def expected(protocol: Protocol) -> list[tuple[str, str]]:
    """Return the table of facts that a page must have."""
    step, windows = protocol.time_scale, parse_windows(protocol.frame_rule)
    if protocol.degradation is not None:
        version = DEGRADATIONS[protocol.degradation].version
        lq = f"`{protocol.degradation}` version {version} of GT, seed {protocol.degradation_seed}"
    else:
        lq = "GT as it is" if protocol.source == "gt" else "from disk"
    if windows is not None:
        inside = " and ".join(map(str, range(0, windows.length, step)))
        rule = f"`{protocol.frame_rule}`: LQ is frames {inside} of every window"
        tail = "what is in no whole window is dropped"
        scored = "all of every window, in a row; both sides of a window's border"
    elif protocol.frame_rule == ALL:
        rule, tail = "`all`: LQ is every frame, the rate grows by φt", "none"
        scored = "no reference: the new frames have no GT"
    else:
        rule = "`every`: LQ is every frame" if step == 1 else f"`every`: LQ is frames 0, {step}, {2 * step} …"
        tail = "none" if step == 1 else "frames after the last LQ frame are dropped"
        scored = "all" if step == 1 else "all up to the last LQ frame"
    return [
        ("version", str(protocol.version)),
        ("LQ", lq),
        ("φs", str(protocol.scale)),
        ("φt", str(step)),
        ("frame rule", rule),
        ("tail", tail),
        ("scored frames", scored),
        ("default metrics", f"`{protocol.metrics}`"),
        ("tasks", ", ".join(protocol.tasks)),
        ("datasets", ", ".join(protocol.kinds)),
    ]


def table(text: str) -> list[tuple[str, str]]:
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [(key.strip(), value.strip()) for key, value in rows[2:]]


def test_every_protocol_has_a_page_and_every_page_a_protocol() -> None:
    assert sorted(page.stem for page in PAGES.glob("*.md")) == known_protocols()


@pytest.mark.parametrize("name", known_protocols())
def test_a_page_agrees_with_its_protocol(name: str) -> None:
    protocol, text = load_protocol(name), (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {name}\n")
    assert table(text) == expected(protocol)
    for section in ("## What is not settled", "back to [all protocols](../protocols.md)"):
        assert section in text
    left_open = text.partition("## What is not settled")[2].partition("back to")[0]
    assert len(left_open.split()) >= 5


@pytest.mark.parametrize("name", known_protocols())
def test_default_metrics_exist(name: str) -> None:
    assert [metric_info(metric) for metric in group_ids(load_protocol(name).metrics)]


def test_every_degradation_is_used_by_a_protocol() -> None:
    assert {load_protocol(name).degradation for name in known_protocols()} - {None} == set(DEGRADATIONS)


def test_pages_name_only_protocols_and_methods_that_exist() -> None:
    known = {*known_protocols(), *DEGRADATIONS, *registry.methods(), *registry.datasets(), "auto"}
    for page in PAGES.glob("*.md"):
        for word in re.findall(r"`([a-z0-9]+(?:-[a-z0-9]+)*-x\d+[a-z0-9-]*)`", page.read_text(encoding="utf-8")):
            assert word in known, (page.name, word)
