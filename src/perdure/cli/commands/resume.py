"""`perdure resume`: go on with a job from its last save."""

from __future__ import annotations

import argparse
from pathlib import Path

from perdure.cli.arguments import add_detach, add_job
from perdure.cli.render import Console
from perdure.cli.resources import add_resources, changed_resources
from perdure.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `resume` takes."""
    add_job(parser)
    parser.add_argument(
        "--on",
        dest="target",
        metavar="TARGET",
        help="go on there: on another machine, on a cluster, in a cloud, or back on `local`; with "
        "what --gpus and the like say, in place of what it had",
    )
    add_detach(parser)
    add_resources(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return the job's own exit code, or 0 once it runs detached."""
    from perdure.cli.starting import follow_started
    from perdure.jobs.find import find_job
    from perdure.jobs.folder import attempts
    from perdure.jobs.launch import resume
    from perdure.jobs.recover import spare
    from perdure.jobs.workspace import open_workspace

    workspace = open_workspace(Path.cwd())
    record = find_job(workspace, arguments.job)
    resources = changed_resources(arguments)
    if arguments.target is not None:
        from perdure.jobs.relocate import relocate

        record = relocate(workspace, record, arguments.target, console, resources)
    elif resources is not None:
        raise UsageError(
            f"`{record.job}` goes on with what it was given where it is",
            hint="--gpus and the like are for --on TARGET, which it is not on yet",
        )
    spare(record.folder)
    before = max(attempts(record.folder), default=0)
    resume(workspace, record, report=console)
    return follow_started(record, console, detach=arguments.detach, after=before)
