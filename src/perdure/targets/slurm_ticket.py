"""What a run folder says of the Slurm job that it is in: `slurm.json`; and how that stands.

The scheduler is asked whether a job goes on: a lock that a supervisor holds on one node of a
cluster says nothing on another one.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import NamedTuple, Optional

from perdure.runtime import names, settled
from perdure.targets.slurm_queue import QUEUE, Known, Queue, Word
from perdure.targets.standing import Standing

_FORMAT = 1
_DIGITS = 12


class Ticket(NamedTuple):
    """A job in Slurm's hands: its comment there, and the generation after which it was submitted.

    `number` is Slurm's, None where its answer was lost.
    """

    comment: str
    after: int
    number: Optional[str] = None  # noqa: UP045 - Python 3.9


def comment_of(root: Path, key: str) -> str:
    """Return what names a job of a project in Slurm. Pure."""
    digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:_DIGITS]
    return f"perdure:{digest}:{key}"


def read_ticket(run_dir: Path) -> Optional[Ticket]:  # noqa: UP045 - Python 3.9
    """Return what a run folder says, None where it is in no scheduler's hands. Reads the disk."""
    try:
        found = json.loads((run_dir / names.TICKET_FILE).read_bytes())
        return Ticket(str(found["comment"]), int(found["after"]), found.get("number"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_ticket(run_dir: Path, ticket: Ticket) -> None:
    """Write it, whole or not at all. Touches the disk."""
    file = run_dir / names.TICKET_FILE
    draft = file.with_name(f".{file.name}-{os.getpid()}-{time.monotonic_ns()}")
    draft.write_text(json.dumps({"format": _FORMAT, **ticket._asdict()}) + "\n")
    draft.replace(file)


def standing_of(run_dir: Path, ticket: Ticket, queue: Queue = QUEUE) -> Standing:
    """Return how a job stands. Asks Slurm, if that was not just done; reads the disk."""
    if settled.is_over(run_dir, ticket.after):
        return Standing(alive=False, asked_at=time.time())
    return judged(queue.known(), ticket)


def judged(known: Known, ticket: Ticket) -> Standing:
    """Return how a job stands that has not come to its end, by what is known of the queue. Pure."""
    word = known.of(ticket.comment, ticket.number)
    if word is None and known.problem:
        # Nobody can say that it is gone.
        return Standing(alive=True, problem=known.problem, asked_at=known.asked_at or None)
    if word is None or not word.active:
        ended = f"Slurm: {word.state}" if word else "Slurm has it no more"
        return Standing(alive=False, ended=ended, asked_at=known.asked_at, problem=known.problem)
    waits = word.reason if word.waits else None
    return Standing(alive=True, waits=waits, asked_at=known.asked_at, problem=known.problem)


def word_of(ticket: Ticket, *, fresh: bool = False, queue: Queue = QUEUE) -> Optional[Word]:  # noqa: UP045
    """Return what Slurm says of a job that is active, None where it is not. Asks Slurm.

    Raises:
        SchedulerUnreachable: it does not answer.
    """
    from perdure.errors import SchedulerUnreachable

    known = queue.known(fresh=fresh)
    if known.problem:
        raise SchedulerUnreachable(known.problem, hint="try again in a minute")
    word = known.of(ticket.comment, ticket.number)
    return word if word is not None and word.active else None
