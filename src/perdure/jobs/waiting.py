"""Jobs in a scheduler's queue that never began: how they stand, without reading their run folders.

While the time of such a run folder stands still, nothing has begun in it, and nobody has handed the
job over anew. What finds it in the queue is kept by the ledger, and the scheduler says the rest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from perdure.jobs import folder as folders
from perdure.model.job import JobStatus
from perdure.targets.slurm_queue import QUEUE
from perdure.targets.slurm_ticket import (
    Ticket,
    judged_word,
    number_of,
    read_ticket,
    standing_known,
)
from perdure.targets.standing import Standing

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


def standings(
    tickets: Sequence[str], meanwhile: Callable[[], object] = tuple
) -> list[Standing | None]:
    """Return how jobs stand that never began, None where a run folder has to say.

    Asks the scheduler once for all of them, if that was not just done; `meanwhile` is called while
    it is asked.
    """
    asking = threading.Thread(target=QUEUE.known, daemon=True)
    asking.start()
    meanwhile()
    asking.join()
    known = QUEUE.known()
    found: list[Standing | None] = []
    # Of thousands that wait most do so for one and the same reason.
    same: dict[tuple[str, str], Standing] = {}
    for text in tickets:
        comment, number, array = text.split("\0")
        ticket = Ticket(comment, 0, number or None, array)
        word = known.of(comment, number_of(ticket))
        kind = ("", "") if word is None else (word.state, word.reason)
        stands = same.get(kind)
        if stands is None:
            stands = standing_known(known, ticket) if word is None else judged_word(known, word)
            if word is not None:
                same[kind] = stands
        found.append(stands if stands.alive else None)
    return found
