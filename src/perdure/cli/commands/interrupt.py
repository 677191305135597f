"""`perdure interrupt`: ask jobs to save and stop."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.arguments import add_jobs
from perdure.cli.render import Console
from perdure.errors import TimeoutExpired

if TYPE_CHECKING:
    from perdure.model.job import JobRecord

# Beyond the grace that a job has: the supervisor ends what does not stop by then.
MARGIN_S = 15.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `interrupt` takes."""
    add_jobs(parser, at_least_one=True)
    parser.add_argument(
        "--no-wait", action="store_true", help="return at once, before they have saved"
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Return 0 once every job has saved and stopped."""
    from perdure.jobs.control import interrupt
    from perdure.jobs.find import find_job
    from perdure.jobs.workspace import locate_workspace

    workspace = locate_workspace(Path.cwd())
    # All of them are found before the first is asked: a mistyped name stops nothing.
    records = [find_job(workspace, job) for job in arguments.jobs]
    for record in records:
        interrupt(record.folder, reason="perdure interrupt")
        console.say(f"asked `{record.job}` to save and stop")
    for record in [] if arguments.no_wait else records:
        report_stop(record, console)
    return 0


def report_stop(record: JobRecord, console: Console) -> None:
    """Wait for a job that was asked to stop, and say what became of it.

    Raises:
        TimeoutExpired: it still runs, long after its grace.
    """
    from perdure.jobs.control import wait_until_stopped
    from perdure.jobs.lifecycle import read_status
    from perdure.model.job import State

    limit_s = record.limits.grace_s + MARGIN_S
    console(f"waiting for `{record.job}` to stop")
    if not wait_until_stopped(record.folder, timeout_s=limit_s):
        raise TimeoutExpired(
            f"job `{record.job}` still runs after {limit_s:g} s", hint=f"perdure kill {record.job}"
        )
    status = read_status(record.folder)
    if status.state is not State.INTERRUPTED:
        console.say(f"`{record.job}`: {status.state.value}")
        return
    saved = (
        "nothing saved" if status.durable_step is None else f"saved at step {status.durable_step}"
    )
    console.say(f"`{record.job}`: {saved}; go on: perdure resume {record.job}")
