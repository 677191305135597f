"""`perdure interrupt`: ask jobs to save and stop."""

from __future__ import annotations

import argparse
from pathlib import Path

from perdure.cli.arguments import add_jobs
from perdure.cli.render import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `interrupt` takes."""
    add_jobs(parser, at_least_one=True)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once every job has been asked; they save and stop by themselves."""
    from perdure.jobs.control import interrupt
    from perdure.jobs.find import find_job
    from perdure.jobs.workspace import open_workspace

    workspace = open_workspace(Path.cwd())
    # All of them are found before the first is asked: a mistyped name stops nothing.
    for record in [find_job(workspace, job) for job in arguments.jobs]:
        interrupt(record.folder, reason="perdure interrupt")
        console.say(f"asked `{record.job}` to save and stop; go on: perdure resume {record.job}")
    return 0
