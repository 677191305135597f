"""`perdure freeze`: what was installed by hand, written into the declarations and the lock."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.arguments import add_json, add_yes
from perdure.cli.changes import value
from perdure.cli.commands.add import tell
from perdure.cli.render import Console
from perdure.cli.table import Column, Table, make_table
from perdure.errors import UsageError

if TYPE_CHECKING:
    from perdure.environments.drift import Drift
    from perdure.jobs.workspace import Workspace

CONTAINER = "container"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `freeze` takes."""
    parser.add_argument(
        "--from",
        dest="source",
        metavar="PLACE",
        help="`container`, or the folder of a virtual environment; all that are found if not given",
    )
    parser.add_argument("--dev", action="store_true", help="declare it for people at work only")
    parser.add_argument(
        "--changed", action="store_true", help="lock the versions that were changed, too"
    )
    parser.add_argument(
        "--missing", action="store_true", help="declare no more what was uninstalled"
    )
    parser.add_argument(
        "--explain", action="store_true", help="show the difference; change nothing"
    )
    add_yes(parser)
    add_json(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once it is written, or there was nothing to write, or the user said no."""
    from perdure.environments.drift import merged
    from perdure.jobs.workspace import open_workspace

    workspace = open_workspace(Path.cwd())
    drift = merged(find(workspace, arguments.source, console))
    if drift.none:
        console.say(f"nothing was installed by hand in {drift.label}")
        return 0
    if not arguments.json:
        console.table(drift_table(drift))
        for line in left_out(drift, arguments):
            console.say(line)
    elif arguments.explain:
        console.json(drift_json(drift))
    more = (arguments.changed and drift.changed) or (arguments.missing and drift.missing)
    if arguments.explain or not (drift.is_new or more):
        return 0
    question = "declare what is new, and bring the lock up to date?"
    if not arguments.yes and not console.confirm(question, unasked="perdure freeze --yes"):
        return 0
    write(workspace, drift, arguments, console)
    return 0


def find(workspace: Workspace, source: str | None, console: Console) -> list[Drift]:
    """Return what was installed by hand, for each environment that is there.

    Raises:
        UsageError: there is none.
    """
    from perdure.development.handmade import drift_of_development
    from perdure.environments.handmade import drift_of_prefix, local_prefixes

    project = workspace.project
    found = []
    if source in (None, CONTAINER):
        console("looking at what is installed")
        drift = drift_of_development(workspace)
        if drift is None and source is not None:
            raise UsageError("the development container does not run", hint="perdure up")
        found += [drift] if drift else []
    prefixes: Sequence[Path] = (Path(source).absolute(),) if source not in (None, CONTAINER) else ()
    if source is None:
        prefixes = local_prefixes(project, workspace.settings)
    found += [drift_of_prefix(project, prefix) for prefix in prefixes]
    if not found:
        raise UsageError(
            "there is no environment to look at: no development container runs, and there is "
            "neither a `.venv` nor one that is activated",
            hint="perdure up",
        )
    return found


def write(
    workspace: Workspace, drift: Drift, arguments: argparse.Namespace, console: Console
) -> None:
    """Write it into the declarations and the lock, and tell what that came to."""
    from perdure.environments.declarations import Place
    from perdure.environments.freeze import Choice, freeze
    from perdure.environments.wanted import Kind

    stage = "dev" if arguments.dev else "runtime"
    place = Place(Kind.PIP, "dev" if arguments.dev else "")
    choice = Choice(place, stage, arguments.changed, arguments.missing)
    project, settings = workspace.project, workspace.settings
    tell(freeze(project, settings, drift, choice, report=console), arguments, console)


def drift_table(drift: Drift) -> Table:
    """Return what was installed by hand as a table."""
    rows = [("new", "pip", each.name, "-", each.version) for each in drift.wished]
    rows += [("came along", "pip", each.name, "-", each.version) for each in drift.brought]
    rows += [("from a folder", "pip", each.name, "-", each.version) for each in drift.foreign]
    rows += [("changed", each.kind, each.name, each.before, each.after) for each in drift.changed]
    rows += [("missing", each.kind, each.name, each.before, "-") for each in drift.missing]
    rows += [("new", "apt", name, "-", version) for name, version in drift.apt.items()]
    rows += [("new", "conda", each.name, "-", each.version) for each in drift.conda]
    columns = (*map(Column, ("WHAT", "KIND", "PACKAGE", "LOCKED", "INSTALLED")),)
    return make_table(columns, [(*row[:3], value(row[3]), value(row[4])) for row in rows])


def left_out(drift: Drift, arguments: argparse.Namespace) -> list[str]:
    """Return what will not be written down, and how it would be."""
    lines = []
    if drift.changed and not arguments.changed:
        lines.append("changed versions stay as they are locked; --changed locks the installed ones")
    if drift.missing and not arguments.missing:
        lines.append("what is missing stays declared; --missing takes it out")
    lines += [
        f"`{each.name}` is installed from `{each.url}`, which no other machine has: "
        "`[tool.uv.sources]` in pyproject.toml can name a folder of the project"
        for each in drift.foreign
    ]
    return lines


def drift_json(drift: Drift) -> dict[str, object]:
    """Return what was installed by hand for a program."""
    return {
        "new": {each.name: each.version for each in drift.wished},
        "came_along": {each.name: each.version for each in drift.brought},
        "from_a_folder": {each.name: each.url for each in drift.foreign},
        "changed": {each.name: [each.before, each.after] for each in drift.changed},
        "missing": {each.name: each.before for each in drift.missing},
        "apt": dict(drift.apt),
        "conda": {each.name: each.version for each in drift.conda},
    }
