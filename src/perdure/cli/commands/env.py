"""`perdure env`: what the environment is made of, and what differs between two."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.arguments import add_json
from perdure.cli.changes import changes_json, changes_table
from perdure.cli.render import Console
from perdure.errors import UsageError

if TYPE_CHECKING:
    from perdure.jobs.workspace import Workspace

USAGE = "perdure env show, or perdure env diff A B"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `env` takes."""
    parser.add_argument(
        "what", metavar="WHAT", choices=("show", "diff"), help="`show` it, or `diff A B`"
    )
    parser.add_argument(
        "sides",
        metavar="A B",
        nargs="*",
        help="for diff: a job, a git revision, a lock file, `lock` (the present one) or "
        "`installed`; B is `lock` if not given",
    )
    add_json(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 after telling.

    Raises:
        UsageError: too many or too few environments.
    """
    from perdure.jobs.workspace import open_workspace

    workspace = open_workspace(Path.cwd())
    sides: list[str] = arguments.sides
    if arguments.what == "show":
        if sides:
            raise UsageError(f"`env show` takes nothing more, not `{sides[0]}`", hint=USAGE)
        return show(workspace, console, as_json=arguments.json)
    if not 1 <= len(sides) <= 2:
        raise UsageError("`env diff` compares two environments", hint="perdure env diff HEAD lock")
    return diff(workspace, (*sides, "lock")[:2], console, as_json=arguments.json)


def show(workspace: Workspace, console: Console, *, as_json: bool) -> int:
    """Return 0 after telling what the environment is made of."""
    from perdure.cli.surroundings import about, images_of, plain
    from perdure.environments.overview import overview

    found = overview(workspace.project, workspace.settings)
    images = images_of(workspace)
    if as_json:
        console.json(plain(workspace.project, found, images))
    else:
        console.lines(about(workspace.project, found, images))
    return 0


def diff(workspace: Workspace, sides: tuple[str, ...], console: Console, *, as_json: bool) -> int:
    """Return 0 after telling what differs between two environments."""
    from perdure.environments.compare import compare
    from perdure.jobs.packages import packages_of

    before, after = (packages_of(workspace, side) for side in sides)
    changes = compare(before, after)
    if as_json:
        console.json({"before": before.label, "after": after.label, **changes_json(changes)})
        return 0
    if changes.items:
        console.table(changes_table(changes, before.label, after.label))
    else:
        console.lines([f"nothing differs between {before.label} and {after.label}"])
    if changes.unknown:
        console.say(f"not compared, one side does not say: {', '.join(changes.unknown)}")
    return 0
