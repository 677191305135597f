"""`perdure show`: everything that is known about a job."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from perdure.cli.arguments import add_job, add_json
from perdure.cli.render import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `show` takes."""
    add_job(parser)
    add_json(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 after telling about the job."""
    from perdure.cli import telling
    from perdure.jobs.find import find_job
    from perdure.jobs.folder import attempts, read_events
    from perdure.jobs.lifecycle import read_status
    from perdure.jobs.workspace import locate_workspace
    from perdure.runtime.result import read_result

    record = find_job(locate_workspace(Path.cwd()), arguments.job)
    folder = record.folder
    known = telling.Known(
        record=record,
        status=read_status(folder),
        events=tuple(
            # Of the steps, one a second for days, the last one says enough.
            tuple(read_events(folder, number, last_step_only=True))
            for number in attempts(folder)
        ),
        result=read_result(str(folder)),
    )
    if arguments.json:
        console.json(telling.as_json(known))
    else:
        console.lines(telling.in_words(known, time.time()))
    return 0
