"""A table as a value, and its plain form: aligned columns that a person and `awk` can read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perdure.cli.words import printable

GAP = "  "


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, its side, and what a narrow terminal does to it.

    `give_way`: 0 never leaves; of the others the highest number leaves first. `paint` colours its
    cells as states are coloured.
    """

    title: str
    right: bool = False
    give_way: int = 0
    paint: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows of text; every row has a cell for each column."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]


def make_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table whose cells cannot write to a terminal or break a line."""
    return Table(tuple(columns), tuple(tuple(map(printable, row)) for row in rows))


def cell_width(text: str) -> int:
    """Return how many places of a terminal the text takes: wide letters take two, accents none."""
    return sum(letter_width(letter) for letter in text)


def letter_width(letter: str) -> int:
    """Return how many places one letter takes."""
    if letter.isascii():
        return 1
    import unicodedata

    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def widths(table: Table) -> list[int]:
    """Return the width of each column, its heading included."""
    return [
        max([cell_width(column.title), *(cell_width(row[index]) for row in table.rows)])
        for index, column in enumerate(table.columns)
    ]


def fit(table: Table, width: int) -> Table:
    """Return the table without the columns that give way until it is at most `width` wide."""
    kept = list(range(len(table.columns)))
    wide = widths(table)
    while sum(wide[index] for index in kept) + len(GAP) * (len(kept) - 1) > width:
        leaving = max(kept, key=lambda index: table.columns[index].give_way)
        if not table.columns[leaving].give_way:
            break
        kept.remove(leaving)
    return Table(
        tuple(table.columns[index] for index in kept),
        tuple(tuple(row[index] for index in kept) for row in table.rows),
    )


def plain_lines(table: Table) -> list[str]:
    """Return the heading and the rows as aligned lines without spaces at their ends."""
    wide = widths(table)
    titles = tuple(column.title for column in table.columns)
    return [line(table, row, wide) for row in (titles, *table.rows)]


def line(table: Table, row: tuple[str, ...], wide: Sequence[int]) -> str:
    """Return one aligned line."""
    cells = (
        pad(cell, width, right=column.right)
        for column, cell, width in zip(table.columns, row, wide, strict=True)
    )
    return GAP.join(cells).rstrip()


def pad(cell: str, width: int, *, right: bool) -> str:
    """Return the cell, filled up with spaces to its width."""
    space = " " * (width - cell_width(cell))
    return space + cell if right else cell + space


def shorten(text: str, width: int) -> str:
    """Return the text cut to `width` places, ending in `…` where something was cut."""
    if cell_width(text) <= width:
        return text
    kept = ""
    for letter in text:
        if cell_width(kept + letter) > width - 1:
            break
        kept += letter
    return kept + "…"
