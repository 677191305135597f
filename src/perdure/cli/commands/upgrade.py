"""`perdure upgrade`: the project brought up to the installed perdure's template."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.render import Console
from perdure.cli.table import Column, make_table
from perdure.cli.words import counted
from perdure.errors import ConflictError

if TYPE_CHECKING:
    from perdure.project.upgrade import Upgrade

MOST_NAMED = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `upgrade` takes."""
    parser.add_argument(
        "--explain", action="store_true", help="tell what would be merged; change nothing"
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once the template's changes are merged and committed, or there are none."""
    from perdure.project.find import find_project
    from perdure.project.upgrade import plan_upgrade, upgrade

    plan = plan_upgrade(find_project(Path.cwd()))
    if not plan.changes:
        console.say(f"up to date: the project has this perdure's template, {versions(plan)}")
        return 0
    if arguments.explain:
        explain(plan, console)
        return 0
    tell_of_lost(plan, console)
    ended = upgrade(plan, report=console)
    if ended.conflicts:
        raise unfinished(ended.conflicts)
    console.say(f"merged the template, {versions(plan)}: {counted(len(plan.changes), 'file')}")
    if any(change.name == "pyproject.toml" for change in plan.changes):
        console.say("next: look at it with `git show`, then `perdure lock`")
    return 0


def versions(plan: Upgrade) -> str:
    """Return the version that the project has, and the one it gets where that is another."""
    before = plan.record.version
    return f"version {before}" if before == plan.version else f"version {before} to {plan.version}"


def explain(plan: Upgrade, console: Console) -> None:
    """Write what would be merged, and on what of the user's it would land."""
    columns = (Column("FILE"), Column("TEMPLATE"), Column("YOURS"))
    rows = [(change.name, change.kind.value, change.yours.value) for change in plan.changes]
    console.table(make_table(columns, rows))
    tell_of_lost(plan, console)
    console.say("git would merge these; what you have edited stays, and may have conflicts")


def tell_of_lost(plan: Upgrade, console: Console) -> None:
    """Say where a merge has only two sides."""
    if plan.lost:
        shown = ", ".join(f"`{name}`" for name in sorted(plan.lost))
        console.say(f"no commit has the old template's text any more, so compare well: {shown}")


def unfinished(conflicts: tuple[str, ...]) -> ConflictError:
    """Return the error that says what is left to do, and how to go back."""
    shown = ", ".join(f"`{name}`" for name in conflicts[:MOST_NAMED])
    more = f" and {len(conflicts) - MOST_NAMED} more" if len(conflicts) > MOST_NAMED else ""
    return ConflictError(
        f"the template is merged but for conflicts in {shown}{more}",
        hint="edit them, then `git add` them and `git commit`; or go back: `git merge --abort`",
    )
