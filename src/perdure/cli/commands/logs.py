"""`perdure logs`: what a job printed, in all its attempts."""

from __future__ import annotations

import argparse
from pathlib import Path

from perdure.cli.arguments import add_job
from perdure.cli.render import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `logs` takes."""
    add_job(parser)
    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on until the job ends; Ctrl-C leaves it be"
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 after printing; Ctrl-C ends the printing, never the job."""
    from perdure.jobs.find import find_job
    from perdure.jobs.follow import follow
    from perdure.jobs.workspace import open_workspace
    from perdure.model.job import LogText

    record = find_job(open_workspace(Path.cwd()), arguments.job)
    attempt = 0
    try:
        for item in follow(record.folder, stop=lambda: not arguments.follow):
            if item.attempt != attempt:
                attempt = item.attempt
                console.say(f"--- attempt {attempt} ---")
            if isinstance(item, LogText):
                console.write(item.text)
    except KeyboardInterrupt:
        console.say(f"the job goes on without you: perdure logs -f {record.job}")
    return 0
