from __future__ import annotations

from pathlib import Path

import pytest

from perdure.cli.reference import FOLDER, main, pages
from perdure.cli.verbs import VERBS
from perdure.errors import PerdureError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", sorted(pages()))
def test_the_committed_page_is_current(name: str) -> None:
    committed = (ROOT / FOLDER / name).read_text(encoding="utf-8")
    assert committed == pages()[name], "run `python -m perdure.cli.reference`"


def test_every_verb_and_option_is_on_the_page() -> None:
    page = pages()["commands.md"]
    for verb in VERBS:
        assert f"### perdure {verb.name}\n" in page
    assert "`-d, --detach`" in page
    assert "--names" not in page


@pytest.mark.parametrize("name", sorted(pages()))
def test_no_row_of_a_table_is_cut_by_what_it_says(name: str) -> None:
    rows = [line for line in pages()[name].splitlines() if line.startswith("|")]
    cells = {line.replace(r"\|", "").count("|") for line in rows}
    assert rows
    assert cells <= {3, 4}
    assert name != "commands.md" or cells == {3}


def test_every_error_is_on_the_page() -> None:
    page = pages()["exit-codes.md"]
    for kind in PerdureError.__subclasses__():
        if kind.__module__ == PerdureError.__module__:
            assert f"| {kind.exit_code} | {kind.__name__} |" in page


def test_the_pages_are_written_where_asked(tmp_path: Path) -> None:
    assert main([str(tmp_path / "reference")]) == 0
    assert sorted(path.name for path in (tmp_path / "reference").iterdir()) == sorted(pages())
