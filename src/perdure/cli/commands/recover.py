"""`perdure recover`: resume what was running when the machine went down."""

from __future__ import annotations

import argparse
from pathlib import Path

from perdure.cli.arguments import add_jobs
from perdure.cli.render import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `recover` takes."""
    add_jobs(parser, at_least_one=False)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once the lost jobs (or the named ones of them) run again, detached."""
    from perdure.errors import UsageError
    from perdure.jobs.find import find_job
    from perdure.jobs.mirror import bring
    from perdure.jobs.recover import recover, recoverable, unreachable
    from perdure.jobs.workspace import open_workspace

    workspace = open_workspace(Path.cwd())
    lost = {status.record.job: status for status in recoverable(workspace)}
    wanted = [find_job(workspace, job).job for job in arguments.jobs] or list(lost)
    for job in wanted:
        if job not in lost:
            bring(workspace.project.results / job)
            raise UsageError(f"job `{job}` was not lost", hint=f"perdure resume {job}")
    for job in wanted:
        recover(workspace, lost[job], report=console)
        console.say(f"`{job}` runs again: perdure logs -f {job}")
    away = unreachable(workspace)
    for target in sorted({status.target for status in away}):
        console.say(f"`{target}` does not answer: whether its jobs were lost, nobody can say")
    if not wanted:
        console.say("no job was lost")
    return 0
