"""The pages of methods/ and datasets/ are what the cards say."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from stvsr_bench.report.catalogue import main, table_pages


@pytest.fixture
def copy(tmp_path: Path, repository: Path) -> Path:
    """A copy of the folders with pages freshly made."""
    for folder in ("methods", "datasets"):
        shutil.copytree(repository / folder, tmp_path / folder)
    assert main(["--root", str(tmp_path)]) == 0
    return tmp_path


def test_the_committed_pages_are_what_the_cards_say(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--check", "--root", str(repository)])
    assert (capsys.readouterr().out, status) == ("", 0)


def test_every_card_has_one_row_and_every_link_leads_somewhere(repository: Path) -> None:
    for path, text in table_pages(repository).items():
        cards = {card.parent.name for card in path.parent.glob("*/card.yaml")}
        rows = re.findall(r"^\| \[(\w+)\]", text, re.MULTILINE)
        assert len(rows) == len(cards)
        assert set(rows) == cards
        for target in re.findall(r"\]\((?!https://)([^)]+)\)", text):
            assert (path.parent / target).is_file(), target


def test_rows_of_a_table_have_as_many_cells_as_its_head(repository: Path) -> None:
    for text in table_pages(repository).values():
        tables = [part.splitlines() for part in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]
        assert tables
        for table in tables:
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1


def test_methods_with_code_stand_apart_from_those_that_are_only_announced(repository: Path) -> None:
    """Fault caught: a method that runs is listed as not yet here, or one whose parameters lack as runnable."""
    page = table_pages(repository)[repository / "methods" / "README.md"]
    sections = {part.partition("\n")[0]: part for part in page.split("\n## ")}
    (diffst,) = (name for name, text in sections.items() if "[diffst]" in text)
    assert diffst == "Code without published parameters"
    assert re.search(r"\| \[diffst\].*\| Apache-2.0 \|.*not published.*\| trained parameters;", sections[diffst])
    assert "[star]" in sections["Announced"]


@pytest.mark.parametrize(("kind", "name"), [("methods", "bicubic"), ("datasets", "vid4")])
def test_a_changed_card_makes_the_check_fail(
    copy: Path, capsys: pytest.CaptureFixture[str], kind: str, name: str
) -> None:
    assert main(["--check", "--root", str(copy)]) == 0
    card = copy / kind / name / "card.yaml"
    facts = yaml.safe_load(card.read_text(encoding="utf-8"))
    card.write_text(yaml.safe_dump({**facts, "licence": "Changed | twice"}), encoding="utf-8")
    capsys.readouterr()
    assert main(["--check", "--root", str(copy)]) == 1
    page = copy / kind / "README.md"
    stale = [page, card.with_name("README.md")] if kind == "datasets" else [page]
    assert capsys.readouterr().out == "".join(f"{p} is not what the cards say; run `make readmes`\n" for p in stale)
    assert main(["--root", str(copy)]) == 0
    assert r"| Changed \| twice |" in page.read_text(encoding="utf-8")
    assert main(["--check", "--root", str(copy)]) == 0


def test_a_page_that_is_absent_or_edited_by_hand_is_stale(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "methods" / "README.md").unlink()
    (copy / "datasets" / "README.md").write_text("mine\n", encoding="utf-8")
    capsys.readouterr()
    assert main(["--check", "--root", str(copy)]) == 1
    assert capsys.readouterr().out.count("is not what the cards say") == 2


def test_a_broken_card_is_an_error_without_a_traceback(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "methods" / "bicubic" / "card.yaml").write_text("name: bicubic\n", encoding="utf-8")
    assert main(["--root", str(copy)]) == 2
    assert "breaks its schema" in capsys.readouterr().err
