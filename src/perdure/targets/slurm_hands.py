"""Arrays in Slurm's hands: what a sweep asks where Slurm's commands are.

Arrays go by their folders, their elements by index, so that the same is asked over a connection:
`perdure.targets.far_arrays`.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from perdure.errors import PerdureError
from perdure.runtime import array, names, settled
from perdure.targets import presence, supervision
from perdure.targets import slurm_array as arrays
from perdure.targets import slurm_ticket as tickets
from perdure.targets.protocol import Handle, Notice
from perdure.targets.slurm import Slurm
from perdure.targets.slurm_queue import QUEUE, Known

Elements = Sequence[tuple[str, Sequence[int]]]

# What was read of arrays stays so: they are written once, and taken once.
_ARRAYS: dict[str, arrays.Array] = {}
_TAKERS: dict[tuple[str, int], str] = {}


def held(run_dirs: Sequence[str], below: str) -> dict[str, list[str]]:
    """Return the jobs that Slurm has of those run folders, each with its array and its index.

    An array that does not lie below that folder is another sweep's: none is named. Reads the disk;
    may ask Slurm.
    """
    return {os.path.basename(each): _place(Path(each), below) for each in run_dirs if _lives(each)}  # noqa: PTH119


def over(asked: Elements) -> list[tuple[str, list[int]]]:
    """Return which of the elements' jobs have come to rest. Asks Slurm; reads the disk.

    What nobody began, and no element can begin any more, is the caller's from now on.
    """
    known = QUEUE.known()
    if known.problem:
        return []
    found = []
    for folder, live in asked:
        made = _array(folder)
        if known.asked_at > made.asked_at:
            # Asked before it is looked who has taken what: an element that is gone by then took
            # nothing after that.
            begun = array.taken(folder)
            ended = [index for index in live if _is_over(made, index, begun, known)]
            if ended:
                found.append((folder, ended))
    return found


def throttle(folders: Sequence[str], most_running: int) -> None:
    """Have arrays run so many elements at a time from now on. Asks Slurm.

    Raises:
        PerdureError: Slurm does not answer, or has one of them no more; the others are told.
    """
    problem = None
    for each in folders:
        try:
            arrays.throttle(Path(each), most_running)
        except PerdureError as error:
            problem = error
    if problem is not None:
        raise problem


def notify(target: Slurm, asked: Elements, notice: Notice) -> None:
    """Pass a notice on to all that run; what has not begun is taken back from Slurm."""
    for folder, live in asked:
        made = _array(folder)
        begun = array.taken(folder)
        unbegun = [index for index in sorted(live) if index not in begun]
        back = [index for index in unbegun if arrays.give_back(made, index)]
        with contextlib.suppress(PerdureError):
            arrays.call_off(made, back)
        for index in set(live) - set(back):
            with contextlib.suppress(PerdureError):
                _pass_on(target, made.results / made.jobs[index], notice)


def _array(folder: str) -> arrays.Array:
    if folder not in _ARRAYS:
        _ARRAYS[folder] = arrays.read_array(Path(folder))
    return _ARRAYS[folder]


def _lives(run_dir: str) -> bool:
    ticket = f"{run_dir}/{names.TICKET_FILE}"
    return os.path.exists(ticket) and presence.is_alive(Path(run_dir))  # noqa: PTH110 - of thousands


def _place(run_dir: Path, below: str) -> list[str]:
    ticket = tickets.read_ticket(run_dir)
    if ticket is None or not ticket.array or Path(ticket.array).parent != Path(below):
        return []
    return [ticket.array, str(_array(ticket.array).indices[run_dir.name])]


def _pass_on(target: Slurm, run_dir: Path, notice: Notice) -> None:
    ticket = tickets.read_ticket(run_dir)
    word = None if ticket is None else QUEUE.known().of(ticket.comment, ticket.number)
    if word is not None and word.state == "RUNNING":
        supervision.notify(run_dir, notice)
    else:
        target.interrupt(Handle(target.name, run_dir.name, run_dir), notice)


def _is_over(made: arrays.Array, index: int, begun: Mapping[int, str], known: Known) -> bool:
    """Return whether a job of an array has come to rest."""
    if index not in begun:
        # Its own element would begin it. What nobody has begun is the caller's from now on.
        return not _active(made, index, known) and arrays.give_back(made, index)
    if settled.is_over(made.results / made.jobs[index], made.afters[index]):
        return True
    key = (str(made.folder), index)
    if key not in _TAKERS:
        _TAKERS[key] = array.taker(*key)
    who = _TAKERS[key]
    return not who.isdigit() or not _active(made, int(who), known)


def _active(made: arrays.Array, element: int, known: Known) -> bool:
    ticket = made.ticket(element)
    word = known.of(ticket.comment, tickets.number_of(ticket))
    return word is not None and word.active
