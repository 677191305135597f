"""`perdure recover`: resume what was running when the machine went down."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.arguments import add_jobs
from perdure.cli.render import Console

if TYPE_CHECKING:
    from perdure.jobs.workspace import Workspace
    from perdure.model.job import JobHeading


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `recover` takes."""
    add_jobs(parser, at_least_one=False)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once the lost jobs (or the named ones of them) run again, detached.

    Those of a sweep run again by its driver.
    """
    from perdure.errors import UsageError
    from perdure.jobs.find import find_job
    from perdure.jobs.mirror import bring
    from perdure.jobs.recover import is_to_end, recover, recoverable, unreachable
    from perdure.jobs.workspace import open_workspace

    workspace = open_workspace(Path.cwd())
    swept = () if arguments.jobs else recover_sweeps(workspace, console)
    lost = {status.record.job: status for status in recoverable(workspace)}
    wanted = [find_job(workspace, job).job for job in arguments.jobs]
    if not wanted:
        wanted = [job for job, status in lost.items() if not belongs(status.record, swept)]
    for job in wanted:
        if job not in lost:
            bring(workspace.project.results / job)
            raise UsageError(f"job `{job}` was not lost", hint=f"perdure resume {job}")
    for job in wanted:
        if is_to_end(lost[job].record.folder):
            console.say(f"`{job}` was killed, and is left: perdure kill {job}, or resume {job}")
            continue
        recover(workspace, lost[job], report=console)
        console.say(f"`{job}` runs again: perdure logs -f {job}")
    away = unreachable(workspace)
    for target in sorted({status.target for status in away}):
        console.say(f"`{target}` does not answer: whether its jobs were lost, nobody can say")
    if not wanted and not swept:
        console.say("no job was lost")
    return 0


def recover_sweeps(workspace: Workspace, console: Console) -> tuple[str, ...]:
    """Return the sweeps that have a driver, or cannot have one here; what it says, is told."""
    if not (workspace.project.state / "sweeps").is_dir():
        return ()
    from perdure.errors import UsageError
    from perdure.sweeps.control import drive
    from perdure.sweeps.holding import is_driven
    from perdure.sweeps.orphans import orphaned
    from perdure.sweeps.record import folder_of, names_of

    waiting = []
    for folder in orphaned(workspace.project):
        try:
            drive(workspace.project, folder)
        except UsageError as error:
            # One that cannot go on keeps no other from it, and its jobs go on with it alone.
            waiting.append(folder.name)
            console.say(f"{error.message}; {error.hint}" if error.hint else error.message)
            continue
        console.say(f"the sweep `{folder.name}` goes on: perdure sweep status {folder.name}")
    project = workspace.project
    driven = [name for name in names_of(project) if is_driven(folder_of(project, name))]
    return (*driven, *waiting)


def belongs(job: JobHeading, sweeps: tuple[str, ...]) -> bool:
    """Return whether a job is one of these sweeps'."""
    from perdure.sweeps.ownership import trial_of

    return any(trial_of(name, job) is not None for name in sweeps)
