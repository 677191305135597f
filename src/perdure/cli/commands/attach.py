"""`perdure attach`: a shell, or one command, where a job runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from perdure.cli.arguments import add_job
from perdure.cli.render import Console
from perdure.cli.signals import as_ctrl_c


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `attach` takes."""
    add_job(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return the exit code of the shell or command."""
    from perdure.jobs.attach import attach
    from perdure.jobs.find import find_job
    from perdure.jobs.workspace import open_workspace

    workspace = open_workspace(Path.cwd())
    record = find_job(workspace, arguments.job)
    command: tuple[str, ...] = arguments.rest
    if not arguments.rest:
        console.say(f"a shell where `{record.job}` runs; leaving it leaves the job be")
    # A visit to a machine is ended, and its key deleted, when the terminal is closed, too.
    with as_ctrl_c():
        return attach(workspace, record, command, console.say)
