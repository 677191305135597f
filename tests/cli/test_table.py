from __future__ import annotations

from perdure.cli.table import Column, cell_width, fit, make_table, plain_lines, shorten

COLUMNS = (Column("job"), Column("task", give_way=2), Column("step", right=True, give_way=1))
TABLE = make_table(COLUMNS, [("brave-otter", "train", "7"), ("猫", "évaluer", "12345")])


def test_plain_lines_are_aligned_and_end_without_spaces() -> None:
    assert plain_lines(TABLE) == [
        "job          task      step",
        "brave-otter  train        7",
        "猫           évaluer  12345",
    ]


def test_an_empty_table_has_its_heading() -> None:
    assert plain_lines(make_table(COLUMNS, [])) == ["job  task  step"]


def test_cells_cannot_break_a_line_or_colour_it() -> None:
    hostile = make_table((Column("job"),), [("a\nb\x1b[31m",)])
    assert plain_lines(hostile) == ["job", r"a\nb\x1b[31m"]


def test_columns_give_way_in_order_on_a_narrow_terminal() -> None:
    def titles(width: int) -> list[str]:
        return [column.title for column in fit(TABLE, width).columns]

    assert titles(80) == ["job", "task", "step"]
    assert titles(27) == ["job", "task", "step"]
    assert titles(26) == ["job", "step"]
    assert titles(17) == ["job"]
    assert titles(3) == ["job"]
    assert fit(TABLE, 20).rows == (("brave-otter", "7"), ("猫", "12345"))


def test_wide_and_combining_letters_are_measured_as_terminals_show_them() -> None:
    assert cell_width("猫") == 2
    assert cell_width("e\u0301") == 1


def test_shorten_cuts_by_places() -> None:
    assert shorten("brave-otter", 11) == "brave-otter"
    assert shorten("brave-otter", 6) == "brave…"
    assert shorten("猫猫猫", 4) == "猫…"
