"""`perdure kill`: end jobs for good."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.arguments import add_jobs, add_yes
from perdure.cli.render import Console
from perdure.cli.words import counted
from perdure.errors import PerdureError, TimeoutExpired, UsageError

if TYPE_CHECKING:
    from perdure.jobs.workspace import Workspace

TIMEOUT_S = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `kill` takes."""
    add_jobs(parser, at_least_one=False)
    parser.add_argument("--all", action="store_true", help="every job that runs")
    add_yes(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once the jobs are seen to be gone.

    Raises:
        PerdureError: why one is not; the others are gone all the same.
    """
    from perdure.jobs.workspace import locate_workspace

    workspace = locate_workspace(Path.cwd())
    folders = chosen(workspace, arguments)
    if arguments.all and not arguments.yes and folders:
        unasked = "perdure kill --all --yes"
        if not console.confirm(f"kill {counted(len(folders), 'job')}?", unasked=unasked):
            return 0
    if arguments.all:
        stop_sweeps(workspace)
    if not folders:
        console.say("no job runs")
    problems = [found for each in folders if (found := ended(each, console)) is not None]
    for problem in problems[1:]:
        console.say(f"not killed: {problem.message}")
    if problems:
        raise problems[0]
    return 0


def ended(folder: Path, console: Console) -> PerdureError | None:
    """Return why a job was not seen to end, None where it was: one does not keep the others."""
    from perdure.jobs.control import kill

    console(f"killing `{folder.name}`")
    try:
        if kill(folder, timeout_s=TIMEOUT_S) == "confirmed":
            console.say(outcome(folder))
            return None
    except PerdureError as error:
        return error
    return TimeoutExpired(
        f"`{folder.name}` was not seen to end within {TIMEOUT_S:g} s: it does once it hears of it",
        hint=f"perdure kill {folder.name}",
    )


def outcome(folder: Path) -> str:
    """Return what came of a job that does not run any more: it may have ended by itself."""
    from perdure.jobs.lifecycle import read_status
    from perdure.model.job import State

    state = read_status(folder).state
    if state in (State.SUCCEEDED, State.FAILED):
        return f"`{folder.name}` had ended: {state.name}"
    return f"killed `{folder.name}`"


def stop_sweeps(workspace: Workspace) -> None:
    """Keep sweeps from starting others in place of those that are killed."""
    if not (workspace.project.state / "sweeps").is_dir():
        return
    from perdure.sweeps.control import stop
    from perdure.sweeps.holding import is_driven
    from perdure.sweeps.record import folder_of, names_of

    project = workspace.project
    for name in names_of(project):
        if is_driven(folder_of(project, name)):
            stop(folder_of(project, name), 0.0)


def chosen(workspace: Workspace, arguments: argparse.Namespace) -> list[Path]:
    """Return the run folders of the jobs to kill: all are found before the first one is touched.

    Raises:
        UsageError: neither jobs nor `--all`, or both.
    """
    from perdure.jobs.find import find_folder
    from perdure.jobs.ledger import statuses
    from perdure.model.job import ALIVE

    if arguments.all == bool(arguments.jobs):
        raise UsageError("name the jobs to kill, or say `--all`", hint="perdure ps")
    if arguments.all:
        return [each.record.folder for each in statuses(workspace, all=True) if each.state in ALIVE]
    return [find_folder(workspace, job) for job in arguments.jobs]
