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
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Optional

from perdure.errors import ConflictError, SchedulerUnreachable
from perdure.runtime import names, settled
from perdure.targets.slurm_queue import QUEUE, Known, Queue, Word
from perdure.targets.standing import Standing

_FORMAT = 1
_DIGITS = 12
#: In the folder of an array: Slurm's number of it.
ARRAY_NUMBER = "number"
# An array whose number is not known after that time was never taken, or is known by its comment.
_HANDING_S = 120.0
_NUMBERS: dict[str, str] = {}
# What has just come to its end Slurm still has for a moment.
_LEAVING_S = 12.0
_POLL_S = 0.2


class Ticket(NamedTuple):
    """A job in Slurm's hands: its comment there, and the generation after which it was submitted.

    `number` is Slurm's, None where its answer was lost. One of an array has `#` and an element's
    index behind the array's comment, and the array's folder, which may know the number.
    """

    comment: str
    after: int
    number: Optional[str] = None  # noqa: UP045 - Python 3.9
    array: str = ""


def comment_of(root: Path, key: str) -> str:
    """Return what names a job of a project in Slurm. Pure."""
    digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:_DIGITS]
    return f"perdure:{digest}:{key}"


def read_ticket(run_dir: Path) -> Optional[Ticket]:  # noqa: UP045 - Python 3.9
    """Return what a run folder says, None where it is in no scheduler's hands. Reads the disk."""
    try:
        found = json.loads((run_dir / names.TICKET_FILE).read_bytes())
        comment, after = str(found["comment"]), int(found["after"])
        return Ticket(comment, after, found.get("number"), str(found.get("array", "")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_ticket(run_dir: Path, ticket: Ticket) -> None:
    """Write it, whole or not at all. Touches the disk."""
    file = run_dir / names.TICKET_FILE
    draft = file.with_name(f".{file.name}-{os.getpid()}-{time.monotonic_ns()}")
    draft.write_text(json.dumps({"format": _FORMAT, **ticket._asdict()}) + "\n")
    draft.replace(file)


def restore(run_dir: Path, before: Optional[Ticket]) -> None:  # noqa: UP045 - Python 3.9
    """Have a run folder say again what it said before it was handed over. Touches the disk."""
    if before is None:
        (run_dir / names.TICKET_FILE).unlink(missing_ok=True)
    else:
        write_ticket(run_dir, before)


def number_of(ticket: Ticket) -> Optional[str]:  # noqa: UP045 - Python 3.9
    """Return Slurm's number of a job, None where nobody knows it. May read the disk."""
    if ticket.number is None and ticket.array:
        number = _array_number(ticket.array)
        return f"{number}_{ticket.comment.rpartition('#')[2]}" if number else None
    return ticket.number


def _array_number(folder: str) -> str:
    """Return the number of an array, "" where Slurm's answer was lost. Reads the disk once."""
    if folder not in _NUMBERS:
        try:
            _NUMBERS[folder] = (Path(folder) / ARRAY_NUMBER).read_text()
        except OSError:
            return ""  # it may be about to be written
    return _NUMBERS[folder]


def standing_of(run_dir: Path, ticket: Ticket, queue: Queue = QUEUE) -> Standing:
    """Return how a job stands. Asks Slurm, if that was not just done; reads the disk."""
    if settled.is_over(run_dir, ticket.after):
        return Standing(alive=False, asked_at=time.time())
    return standing_known(queue.known(), ticket)


def standing_known(known: Known, ticket: Ticket) -> Standing:
    """Return how a job stands that has not come to its end, by what is known of the queue.

    Reads the disk where the number of its array is not known yet.
    """
    found = judged(known, ticket)
    if found.alive or not _is_handed_over(ticket):
        return found
    return found._replace(alive=True, waits="being submitted", ended="")


def _is_handed_over(ticket: Ticket) -> bool:
    """Return whether a job's array is about to be taken by Slurm. Reads the disk."""
    if not ticket.array or number_of(ticket) is not None:
        return False
    try:
        return time.time() - Path(ticket.array).stat().st_mtime < _HANDING_S
    except OSError:
        return False


def judged(known: Known, ticket: Ticket) -> Standing:
    """Return how a job stands that has not come to its end, by what is known of the queue. Pure."""
    return judged_word(known, known.of(ticket.comment, number_of(ticket)))


def judged_word(known: Known, word: Optional[Word]) -> Standing:  # noqa: UP045 - Python 3.9
    """Return the same of a job of which Slurm says that word. Pure."""
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
    known = queue.known(fresh=fresh)
    if known.problem:
        raise SchedulerUnreachable(known.problem, hint="try again in a minute")
    word = known.of(ticket.comment, number_of(ticket))
    return word if word is not None and word.active else None


def leave(run_dir: str, *, pause: Callable[[float], None] = time.sleep) -> None:
    """Return once Slurm has nothing of a job that is to go on elsewhere. Asks Slurm.

    Of an array's job it has nothing once the element is gone: that could begin it again.

    Raises:
        SchedulerUnreachable: it does not answer.
        ConflictError: it still has it.
    """
    path = Path(run_dir)
    ticket = read_ticket(path)
    deadline = time.monotonic() + _LEAVING_S
    while ticket is not None:
        word = word_of(ticket, fresh=True)
        if word is None:
            return
        if time.monotonic() > deadline:
            raise ConflictError(
                f"Slurm still has `{path.name}`: {word.number} is {word.state.lower()}",
                hint=f"perdure kill {path.name}, then once more",
            )
        pause(_POLL_S)
