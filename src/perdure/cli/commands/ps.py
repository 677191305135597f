"""`perdure ps`: jobs and where they stand."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.arguments import add_json
from perdure.cli.render import Console
from perdure.cli.words import counted
from perdure.errors import PerdureError

if TYPE_CHECKING:
    from perdure.cli.table import Table
    from perdure.jobs.workspace import Workspace

EVERY_S = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `ps` takes."""
    parser.add_argument(
        "-a", "--all", action="store_true", help="list all jobs, however old and however many"
    )
    parser.add_argument("-w", "--watch", action="store_true", help="refresh until Ctrl-C")
    add_json(parser)
    parser.add_argument("--names", choices=("jobs", "tasks"), help=argparse.SUPPRESS)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 after listing the jobs."""
    from perdure.jobs.ledger import count, statuses
    from perdure.jobs.workspace import locate_workspace

    if arguments.names:
        return write_names(arguments.names, console)
    workspace = locate_workspace(Path.cwd())
    if arguments.watch:
        console.watch(lambda: current(workspace, every=arguments.all), EVERY_S)
        return 0
    now = time.time()
    found = statuses(workspace, all=arguments.all, meanwhile=_load_listing)
    from perdure.cli import listing

    shown = found if arguments.all else listing.recent(found, now)
    if arguments.json:
        console.json([listing.job_json(status) for status in shown])
        return 0
    console.table(listing.job_table(shown, now))
    more = 0 if arguments.all else count(workspace) - len(shown)
    if more > 0:
        console.say(f"{counted(more, 'more job')}: perdure ps -a")
    for target, problem in listing.unreachable(shown).items():
        console.say(f"`{target}`: its jobs are as they were last seen: {problem}")
    lost = listing.lost(found)
    if lost:
        them = "it" if len(lost) == 1 else "them"
        console.say(f"{counted(len(lost), 'job')} lost; go on with {them}: perdure recover")
    tell_of_sweeps(workspace, console)
    return 0


def _load_listing() -> None:
    """Load what shows jobs: a host takes about as long to answer."""
    import perdure.cli.listing  # noqa: F401 - `execute` has it from there


def tell_of_sweeps(workspace: Workspace, console: Console) -> None:
    """Tell of sweeps that do not go on, because what drives them is gone."""
    if not (workspace.project.state / "sweeps").is_dir():
        return
    from perdure.sweeps.orphans import orphaned

    for folder in orphaned(workspace.project):
        console.say(f"the driver of the sweep `{folder.name}` is gone; go on: perdure recover")


def current(workspace: Workspace, *, every: bool) -> Table:
    """Return the table as it is now."""
    from perdure.cli import listing
    from perdure.jobs.ledger import statuses

    now = time.time()
    found = statuses(workspace, all=every)
    return listing.job_table(found if every else listing.recent(found, now), now)


def write_names(kind: str, console: Console) -> int:
    """Return 0 after writing names for a shell's completion, none where there is no project."""
    from perdure.jobs.find import job_names
    from perdure.jobs.workspace import open_workspace

    try:
        workspace = open_workspace(Path.cwd())
        if kind == "tasks":
            console.lines(sorted(workspace.project.tasks))
        else:
            console.lines(job_names(workspace))
    except PerdureError:
        pass  # an error in the middle of a command line would help nobody
    return 0
