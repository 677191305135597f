"""`perdure adopt`: an existing repository made a project."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.arguments import add_yes
from perdure.cli.render import Console
from perdure.cli.table import Column, make_table
from perdure.cli.words import counted

if TYPE_CHECKING:
    from perdure.project.adopt import Adoption, Change


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `adopt` takes."""
    parser.add_argument(
        "folder", metavar="DIR", nargs="?", default=".", help="the repository; default: this one"
    )
    parser.add_argument("--package", metavar="NAME", help="which package, if there are several")
    parser.add_argument(
        "--explain", action="store_true", help="show each change as a diff; change nothing"
    )
    add_yes(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once the repository is a project, or the user said no."""
    from perdure.project.adopt import adopt, plan_adoption

    plan = plan_adoption(Path(arguments.folder), arguments.package)
    if not plan.changes:
        console.say(f"`{plan.root}` is a project already: nothing to do")
        return 0
    show(plan, console)
    if arguments.explain:
        console.write("".join(diff(change) for change in plan.changes))
        return 0
    words = ["perdure", "adopt", arguments.folder, "--yes"]
    question = f"write {counted(len(plan.changes), 'file')} in `{plan.root}`?"
    if not arguments.yes and not console.confirm(question, unasked=shlex.join(words)):
        return 0
    adopt(plan)
    console.say("nothing is committed: look at `git status` and `git diff`")
    task = next(iter(plan.tasks), None)
    console.say(f"next: perdure run {task}" if task else "next: perdure run -- COMMAND")
    return 0


def show(plan: Adoption, console: Console) -> None:
    """Write what would be done: the files, the tasks, and what is left to a person."""
    columns = (Column("FILE"), Column("CHANGE"), Column("WHY", give_way=1))
    rows = [
        (each.name, "new" if each.before is None else "changed", each.why) for each in plan.changes
    ]
    console.table(make_table(columns, rows))
    if plan.tasks:
        console.lines([""])
        tasks = [(name, shlex.join(words)) for name, words in plan.tasks.items()]
        console.table(make_table((Column("TASK"), Column("COMMAND")), tasks))
    for note in plan.notes:
        console.say(f"note: {note}")


def diff(change: Change) -> str:
    """Return a change as `git diff` shows it; of what is no text, only its size."""
    import difflib

    try:
        after = change.after.decode("utf-8")
        before = (change.before or b"").decode("utf-8")
    except UnicodeDecodeError:
        return f"+++ {change.name}: {len(change.after)} bytes\n"
    lines = difflib.unified_diff(
        before.splitlines(),
        after.splitlines(),
        "/dev/null" if change.before is None else f"a/{change.name}",
        f"b/{change.name}",
        lineterm="",
    )
    return "".join(f"{line}\n" for line in lines)
