"""How differences between environments look, on a terminal and as JSON."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from perdure.cli.table import Column, Table, make_table, shorten
from perdure.errors import UsageError

if TYPE_CHECKING:
    from perdure.environments.compare import Changes
    from perdure.environments.declarations import Place

VALUE_PLACES = 40


def add_place(parser: argparse.ArgumentParser) -> None:
    """Add where packages are declared: what pip installs for all, if nothing else is said."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--dev", action="store_true", help="for people at work, not for jobs")
    where.add_argument("--variant", metavar="NAME", help="for one variant, such as cuda")
    where.add_argument(
        "--apt", choices=("build", "runtime", "dev"), help="Debian packages of that stage"
    )
    where.add_argument("--conda", action="store_true", help="packages of the environment.yml")


def chosen_place(arguments: argparse.Namespace) -> Place:
    """Return where packages are to be declared.

    Raises:
        UsageError: an option is empty.
    """
    from perdure.environments.declarations import VARIANT, Place
    from perdure.environments.wanted import Kind

    if arguments.apt:
        return Place(Kind.APT, arguments.apt)
    if arguments.conda:
        return Place(Kind.CONDA)
    if arguments.variant is not None:
        if not arguments.variant:
            raise UsageError("`--variant` names no variant", hint="perdure env show")
        return Place(Kind.PIP, VARIANT + arguments.variant)
    return Place(Kind.PIP, "dev" if arguments.dev else "")


def changes_table(changes: Changes, before: str = "BEFORE", after: str = "AFTER") -> Table:
    """Return the differences as a table, `-` where a side has nothing."""
    columns = (Column("WHAT"), Column("KIND"), Column("PACKAGE"), Column(before), Column(after))
    return make_table(
        columns,
        [
            (each.what, each.kind, each.name, value(each.before), value(each.after))
            for each in changes.items
        ],
    )


def value(text: str) -> str:
    """Return one side of a difference."""
    return shorten(text, VALUE_PLACES) or "-"


def changes_json(changes: Changes) -> dict[str, object]:
    """Return the differences for a program."""
    return {
        "changes": [
            {
                "kind": each.kind,
                "name": each.name,
                "what": each.what,
                "before": each.before,
                "after": each.after,
            }
            for each in changes.items
        ],
        "unknown": list(changes.unknown),
    }
