"""Jobs that were running when their supervisor, or the whole machine, went down."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from perdure.jobs import folder as folders
from perdure.jobs import there
from perdure.jobs.control import reach
from perdure.jobs.launch import resume
from perdure.jobs.ledger import statuses
from perdure.jobs.lifecycle import boot_of, read_status
from perdure.jobs.workspace import Workspace
from perdure.model.job import Event, JobStatus, State
from perdure.model.report import Report, silent
from perdure.runtime import names
from perdure.targets import shelf

# The reason a supervisor gives when the system asks it to end, as it does at a shutdown.
_BY_SYSTEM = "SIGTERM"


def recoverable(workspace: Workspace) -> list[JobStatus]:
    """Return the jobs that `recover` goes on with. Touches the disk.

    Those that are LOST, and those that an orderly shutdown of their machine has interrupted: nobody
    asked for them to stop.
    """
    return [
        status
        for status in statuses(workspace, all=True)
        if status.state is State.LOST
        or (
            status.state is State.INTERRUPTED
            and shut_down(
                folders.read_events(status.record.folder, status.attempt),
                boot_of(status.record.folder),
            )
        )
    ]


def unreachable(workspace: Workspace) -> list[JobStatus]:
    """Return the jobs of hosts that do not answer: whether they were lost, nobody can say."""
    return [status for status in statuses(workspace, all=True) if status.problem]


def is_to_end(folder: Path) -> bool:
    """Return whether a LOST job was killed, and nobody has heard of it yet. Asks its host.

    That of a cloud is written down as ended at once.

    Raises:
        HostUnreachable: it does not answer.
    """
    from perdure.targets.cloud import Cloud

    target, handle = reach(folder)
    if isinstance(target, Cloud):
        return False
    return target.place.host.call(there.is_to_end, target.place.path(handle.run_dir))


def spare(folder: Path) -> None:
    """Have a LOST job that was killed go on: who names it means it. Asks its host."""
    if read_status(folder).state is State.LOST and is_to_end(folder):
        place = reach(folder)[0].place
        place.host.call(shelf.drop, place.path(folder / names.CANCEL))


def recover(workspace: Workspace, status: JobStatus, *, report: Report = silent) -> int:
    """Return the process id of a supervisor that goes on with a job.

    What is left of it is asked to save, then stopped, first. Raises as `resume`.
    """
    return resume(workspace, folders.read_record(status.record.folder), report=report)


def shut_down(events: Sequence[Event], boot: str) -> bool:
    """Return whether an attempt was stopped by the system, before this start of the machine. Pure.

    `boot` is which start this is; an attempt of another machine was not stopped by this one.
    """
    before = next((event.text("boot") for event in events if event.name == "started"), "")
    if not boot or not before or before == boot:
        return False
    notices = [event.text("reason") for event in events if event.name == "notice"]
    return bool(notices) and notices[0] == _BY_SYSTEM
