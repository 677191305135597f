"""`perdure add`: packages declared and locked."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.arguments import add_json
from perdure.cli.changes import add_place, changes_json, changes_table, chosen_place
from perdure.cli.render import Console

if TYPE_CHECKING:
    from perdure.environments.revision import Revised


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `add` takes."""
    parser.add_argument(
        "packages", metavar="PACKAGE", nargs="+", help="a name, or such as 'NAME>=1.2'"
    )
    add_place(parser)
    add_json(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once the packages are declared and the lock has them."""
    from perdure.environments.edit import add
    from perdure.jobs.workspace import open_workspace

    workspace = open_workspace(Path.cwd())
    project, settings = workspace.project, workspace.settings
    place = chosen_place(arguments)
    tell(add(project, settings, place, arguments.packages, report=console), arguments, console)
    return 0


def tell(revised: Revised, arguments: argparse.Namespace, console: Console) -> None:
    """Write what a change of the declarations came to."""
    if arguments.json:
        files = [str(file) for file in revised.files]
        console.json({"files": files, **changes_json(revised.changes)})
        return
    if revised.changes.items:
        console.table(changes_table(revised.changes))
    elif not revised.changes.unknown:
        console.say("the lock has the same packages as before")
    console.say("changed: " + ", ".join(f"`{file.name}`" for file in revised.files))
