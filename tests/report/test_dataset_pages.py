"""The part of a dataset's README that its card makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from stvsr_bench.core import registry
from stvsr_bench.core.dataset_card import DatasetCard
from stvsr_bench.core.errors import CardError
from stvsr_bench.report.catalogue import main
from stvsr_bench.report.dataset_page import BEGIN, END, facts, with_facts, without_facts

SHIPPED = [name for name, entry in registry.datasets().items() if entry.origin == "installed"]


def card(**changes: Any) -> DatasetCard:
    variants = {"default": {"summary": "x", "n_clips": 2, "frames": 3, "certainty": {"frames": "memory"}}}
    given = {"name": "mine", "version": 1, "title": "Mine", "summary": "s", "kind": "real", "source": "me | you"}
    return DatasetCard.model_validate({**given, "licence": "mine", "variants": variants, **changes})


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_readme_holds_the_facts_of_its_card(name: str) -> None:
    entry = registry.datasets()[name]
    text = (entry.folder / "README.md").read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    assert with_facts(text, entry.card) == text
    for use in entry.card.used_by:
        assert f"| {use.method} |" in text
    for item in (*entry.card.notes, *entry.card.urls):
        assert item in text


def test_facts_come_with_their_certainty() -> None:
    text = facts(card(lq_at_gt_size=True, certainty={"licence": "inferred"}, frame_rate="24"))
    for row in (
        "| clips | 2 | certain |",
        "| frames | 3 | from memory of the literature |",
        "| rows × columns | not known |  |",
        "| licence | mine | inferred |",
        "| from | me \\| you | certain |",
        "| frame rate | 24 per second | certain |",
        "`dataset.lq_size` must say how it is read | certain |",
    ):
        assert row in text


def test_what_cannot_be_run_or_reproduced_says_so() -> None:
    text = facts(card(status="announced", missing="the clips", not_reproducible="nobody has them"))
    assert "| status | announced, cannot be run; missing: the clips |  |" in text
    assert "not reproducible: nobody has them" in text
    assert "STVSR_BENCH_DATA" not in text


def test_what_people_wrote_stays(tmp_path: Path) -> None:
    page = f"# Mine\n\nbefore\n\n{BEGIN}\nold\n{END}\n\nafter\n"
    made = with_facts(page, card())
    assert made.startswith(f"# Mine\n\nbefore\n\n{BEGIN}\n| fact |")
    assert made.endswith(f"{END}\n\nafter\n")
    assert "old" not in made
    assert with_facts(made, card()) == made
    assert without_facts(made) == "# Mine\n\nbefore\n\nafter\n"
    assert with_facts("# no marks\n", card()) == without_facts("# no marks\n") == "# no marks\n"


@pytest.mark.parametrize("page", [f"{BEGIN}\n", f"{END}\n", f"{END}\n{BEGIN}\n"])
def test_half_a_mark_is_an_error_and_nothing_is_lost(page: str) -> None:
    with pytest.raises(CardError, match="one mark of its facts"):
        with_facts(page, card())
    assert without_facts(page) == page


def test_a_fact_edited_by_hand_is_stale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "datasets" / "mine"
    folder.mkdir(parents=True)
    (tmp_path / "methods").mkdir()
    (folder / "card.yaml").write_text(yaml.safe_dump(card().model_dump(mode="json", exclude_none=True)))
    (folder / "README.md").write_text(f"# Mine\n\n{BEGIN}\n{END}\n")
    assert main(["--root", str(tmp_path)]) == 0
    assert main(["--check", "--root", str(tmp_path)]) == 0
    text = (folder / "README.md").read_text()
    (folder / "README.md").write_text(text.replace("| frames | 3 |", "| frames | 4 |"))
    capsys.readouterr()
    assert main(["--check", "--root", str(tmp_path)]) == 1
    assert capsys.readouterr().out.startswith(f"{folder / 'README.md'} is not what")
