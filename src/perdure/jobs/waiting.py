"""Jobs in a scheduler's queue that never began: how they stand, without reading their run folders.

While the time of such a run folder stands still, nothing has begun in it, and nobody has handed the
job over anew. What finds it in the queue is kept by the ledger, and the scheduler says the rest.
"""

from __future__ import annotations

import time
from pathlib import Path

from perdure.jobs import folder as folders
from perdure.jobs.lifecycle import status_unbegun
from perdure.model.job import JobHeading, JobStatus
from perdure.targets.slurm_ticket import Ticket, read_ticket, standing_unbegun

# Times of folders are as coarse as this on some file systems: a change within it leaves no trace.
_COARSE_NS = 2_000_000_000


def ticket_of(folder: Path, status: JobStatus, changed: int) -> str | None:
    """Return what finds a job in its queue, None where its run folder is to be read each time.

    `changed` is the folder's time, taken before `status` was. Reads the disk.
    """
    settled = time.time_ns() - changed > _COARSE_NS
    if status.attempt or status.asked_at is None or not settled or folders.is_elsewhere(folder):
        return None
    ticket = read_ticket(folder)
    if ticket is None:
        return None
    return "\0".join((ticket.comment, ticket.number or "", ticket.array))


def status_waiting(heading: JobHeading, target: str, ticket: str) -> JobStatus | None:
    """Return where a job stands that never began, None where its run folder has to say.

    Asks the scheduler, if that was not just done.
    """
    comment, number, array = ticket.split("\0")
    stands = standing_unbegun(Ticket(comment, 0, number or None, array))
    return status_unbegun(heading, target, stands) if stands.alive else None
