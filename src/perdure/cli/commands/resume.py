"""`perdure resume`: go on with a job from its last save."""

from __future__ import annotations

import argparse
from pathlib import Path

from perdure.cli.arguments import add_detach, add_job
from perdure.cli.render import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `resume` takes."""
    add_job(parser)
    parser.add_argument(
        "--on",
        dest="target",
        metavar="TARGET",
        help="go on there: from `local` to a target of a cloud, or back",
    )
    add_detach(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return the job's own exit code, or 0 once it runs detached."""
    from perdure.cli.starting import follow_started
    from perdure.jobs.find import find_job
    from perdure.jobs.folder import attempts
    from perdure.jobs.launch import resume
    from perdure.jobs.workspace import open_workspace

    workspace = open_workspace(Path.cwd())
    record = find_job(workspace, arguments.job)
    if arguments.target is not None:
        from perdure.jobs.relocate import relocate

        record = relocate(workspace, record, arguments.target, console)
    before = max(attempts(record.folder), default=0)
    resume(workspace, record, report=console)
    return follow_started(record, console, detach=arguments.detach, after=before)
