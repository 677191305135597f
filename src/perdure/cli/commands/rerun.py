"""`perdure rerun`: a job again, exactly as it was recorded, and whether it comes to the same."""

from __future__ import annotations

import argparse
from pathlib import Path

from perdure.cli.arguments import add_detach, add_job
from perdure.cli.render import Console
from perdure.errors import DifferenceError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `rerun` takes."""
    add_job(parser)
    add_detach(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 if the results are the same, the job's own exit code if it did not get so far.

    Raises:
        DifferenceError: they are not the same.
    """
    from perdure.cli.starting import follow_started
    from perdure.jobs.compare import same_result
    from perdure.jobs.find import find_job
    from perdure.jobs.launch import begin, rerun
    from perdure.jobs.workspace import open_workspace

    workspace = open_workspace(Path.cwd())
    before = find_job(workspace, arguments.job)
    again = rerun(workspace, before, report=console)
    begin(workspace, again, report=console)
    code = follow_started(again, console, detach=arguments.detach)
    if code or arguments.detach:
        return code
    result = same_result(before, again)
    if not result.same:
        raise DifferenceError(
            f"`{again.job}` did not come to what `{before.job}` came to: {result.reason}",
            hint=f"perdure why {before.job} {again.job}",
        )
    console.lines([f"identical: weights {result.weights[:16]}, {result.rows} metric rows"])
    return 0
