"""`perdure remove`: packages taken out of the declarations and the lock."""

from __future__ import annotations

import argparse
from pathlib import Path

from perdure.cli.arguments import add_json
from perdure.cli.changes import add_place, chosen_place
from perdure.cli.commands.add import tell
from perdure.cli.render import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `remove` takes."""
    parser.add_argument("packages", metavar="PACKAGE", nargs="+", help="a package's name")
    add_place(parser)
    add_json(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once the packages are declared no more and the lock is up to date."""
    from perdure.environments.edit import remove
    from perdure.jobs.workspace import open_workspace

    workspace = open_workspace(Path.cwd())
    project, settings = workspace.project, workspace.settings
    place = chosen_place(arguments)
    tell(remove(project, settings, place, arguments.packages, report=console), arguments, console)
    return 0
