"""Jobs asked to stop, and jobs ended for good."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from perdure.errors import ConflictError
from perdure.jobs import folder as folders
from perdure.jobs import mirror
from perdure.jobs.elsewhere import finish, target_in
from perdure.jobs.lifecycle import can_become, read_status
from perdure.jobs.workspace import root_of, storing
from perdure.model.job import State
from perdure.model.project import Project
from perdure.targets.protocol import Confirmation, Handle, Notice, Target

POLL_S = 0.05


def interrupt(folder: Path, *, reason: str, deadline: float | None = None) -> None:
    """Ask a running job to save and stop; return at once. Touches the disk.

    Raises:
        ConflictError: it is not running.
    """
    mirror.bring(folder)
    if not folders.is_alive(folder):
        status = read_status(folder)
        raise ConflictError(
            f"job `{folder.name}` is not running: {status.state.value.lower()}",
            hint=f"perdure show {folder.name}",
        )
    target, handle = reach(folder)
    with storing("the notice"):
        target.interrupt(handle, Notice(reason, deadline))


def wait_until_stopped(
    folder: Path, *, timeout_s: float, pause: Callable[[float], None] = time.sleep
) -> bool:
    """Return whether a job's supervisor was gone within the time. Reads the disk."""
    until = time.monotonic() + timeout_s
    while folders.is_alive(folder):
        if time.monotonic() > until:
            return False
        pause(POLL_S)
    return True


def kill(folder: Path, *, timeout_s: float, clock: Callable[[], float] = time.time) -> Confirmation:
    """Return `confirmed` once nothing of the job runs and it is recorded as ended.

    A job that has ended already is left as it is. `unconfirmed`: its supervisor still lives after
    `timeout_s`, or a scheduler has something of it. Signals processes, touches the disk.
    """
    target, handle = reach(folder)
    mirror.bring(folder)
    # What a scheduler has of a job that is LOST, only it can say: a pod on a node that is cut off.
    if folders.is_alive(folder) or (folders.is_scheduled(folder) and _can_end(folder)):
        answer = target.cancel(handle, timeout_s)
        mirror.bring(folder)
        if answer == "unconfirmed":
            return answer
    if not _can_end(folder):
        return "confirmed"
    # Its supervisor is gone, or there never was one: what it would have done is done in its place.
    with storing("the run folder"):
        finish(target, handle, clock())
    mirror.bring(folder)
    return "confirmed"


def _can_end(folder: Path) -> bool:
    return can_become(read_status(folder).state, State.CANCELLED)


def send_signal(folder: Path, pid: int, number: int) -> None:
    """Send a signal to a process of a job, by the id that its events name."""
    target, handle = reach(folder)
    target.signal(handle, pid, number)


def reach(folder: Path) -> tuple[Target, Handle]:
    """Return the target that a run folder's job is on, and the job there. Reads the disk."""
    # What deals with a job that exists needs nothing of its project but where that is.
    project = Project(root_of(folder), "", "", {})
    target = target_in(folder, project, folders.target_of(folder))
    return target, Handle(target.name, folder.name, folder)
