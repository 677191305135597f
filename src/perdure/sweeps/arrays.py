"""Trials as the elements of Slurm's arrays: handed over many at once, and Slurm starts them.

What is handed over is in `arrays/` of the sweep's folder. Which trials have begun, elements say
there; whether an element is gone, Slurm does, asked once for all of them.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from perdure.errors import ConflictError, PerdureError, UsageError
from perdure.jobs.launch import prepared
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord
from perdure.model.sweep import trial_number
from perdure.runtime import array, names, settled
from perdure.runtime.supervisor.signals import Signals
from perdure.sweeps.pool import Rest
from perdure.targets import presence, supervision
from perdure.targets import slurm_array as arrays
from perdure.targets import slurm_ticket as tickets
from perdure.targets.protocol import Handle, Notice
from perdure.targets.slurm import Slurm
from perdure.targets.slurm_queue import QUEUE, Known

#: So many are in Slurm's hands at most, running or not.
MOST = 5_000
_LOOK_S = 0.5
# What Slurm answers where an account, or it itself, has as many jobs as it takes.
_ENOUGH = ("limit", "max", "temporarily unable", "invalid job array")


@dataclass(slots=True)
class _Watched:
    """An array of this sweep; `live` are the jobs that have not come to rest, by index."""

    made: arrays.Array
    live: dict[int, JobRecord]
    who: dict[int, str] = field(default_factory=dict)


class Arrays:
    """The pool of a cluster that this machine is a part of."""

    def __init__(
        self,
        workspace: Workspace,
        target: Slurm,
        folder: Path,
        base: JobRecord,
        passed: Mapping[str, str],
    ) -> None:
        prepared(workspace, target, base, passed)
        self._slurm = target
        self._folder = folder
        self._base = replace(base, variables={**base.variables, **passed})
        self._size = arrays.block_size()
        self._most = min(MOST, self._size)
        self._signals = Signals()
        self._watched: dict[Path, _Watched] = {}
        self._look = 0.0

    @property
    def holds(self) -> bool:
        """Return that its jobs have supervisors of their own."""
        return False

    @property
    def most(self) -> int:
        """Return how many an array can have, as far as Slurm has taken so many."""
        return self._most

    def room(self, most_running: int, busy: int) -> int:
        """Return how many jobs may be handed over: Slurm has a queue, and holds them back."""
        handed = self.running()
        if not most_running:
            return MOST - handed
        if not handed:
            return 0 if busy >= most_running else MOST
        return max(0, most_running - handed - busy)

    def begin(self, records: Sequence[JobRecord], most_running: int = 0) -> int:
        """Hand jobs over, as many of the first as one array takes; return how many those are.

        Raises:
            ConflictError: the first one is in Slurm's hands, and not by this sweep.
            PerdureError: Slurm does not take them just now; fewer are tried next time.
        """
        if self._adopted(records[0]):
            return 1
        block, jobs = self._together(records[: self._most])
        folder = self._folder / "arrays" / secrets.token_hex(4)
        log = arrays.log_pattern(self._base.sweep or "", block, self._size)
        order = arrays.Order(self._base, jobs, folder, log, most_running)
        try:
            made = arrays.submit_array(self._slurm, order)
        except UsageError as error:
            if len(jobs) > 1 and any(word in error.message.lower() for word in _ENOUGH):
                self._most = max(1, len(jobs) // 2)
            raise
        self._most = min(MOST, self._size, 2 * self._most)
        self._watched[folder] = _Watched(made, dict(jobs))
        return len(jobs)

    def running(self) -> int:
        """Return how many are in Slurm's hands."""
        return sum(len(each.live) for each in self._watched.values())

    def turn(self, timeout_s: float) -> list[Rest]:
        """Return the jobs that came to rest. Asks Slurm, not all the time."""
        until = time.monotonic() + timeout_s
        while True:
            now = time.monotonic()
            if now >= self._look:
                self._look = now + _LOOK_S
                ended = self._ended()
                if ended:
                    return ended
            if now >= until or self._signals.arrived:
                return []
            self._signals.wait((), min(until, self._look) - now)

    def notify(self, notice: Notice) -> None:
        """Pass a notice on to all that run; what has not begun is taken back from Slurm."""
        for each in self._watched.values():
            begun = array.taken(str(each.made.folder))
            unbegun = [index for index in sorted(each.live) if index not in begun]
            back = [index for index in unbegun if arrays.give_back(each.made, index)]
            with contextlib.suppress(PerdureError):
                arrays.call_off(each.made, back)
            for index in set(each.live) - set(back):
                with contextlib.suppress(PerdureError):
                    self._pass_on(each.live[index], notice)

    def cancel(self, job: str) -> None:
        """Touch its CANCEL, which is looked at within a tick."""
        for each in self._watched.values():
            for record in each.live.values():
                if record.job == job:
                    (record.folder / names.CANCEL).touch()

    def wake(self) -> str | None:
        """Return the name of a signal that asks this process to stop."""
        return self._signals.take()

    def close(self) -> None:
        """Let go of the signals."""
        self._signals.restore()

    def _together(self, records: Sequence[JobRecord]) -> tuple[int, dict[int, JobRecord]]:
        """Return the first jobs that one array can have, by index, and their block of numbers."""
        block = self._number(records[0]) // self._size
        jobs: dict[int, JobRecord] = {}
        for record in records:
            number = self._number(record)
            if number // self._size != block or (jobs and _lives(record)):
                break
            jobs[number % self._size] = record
        return block, jobs

    def _number(self, record: JobRecord) -> int:
        return trial_number(self._base.sweep or "", record.job) or 0

    def _adopted(self, record: JobRecord) -> bool:
        """Return whether Slurm has a job by an array of this sweep; it is watched from now on.

        Raises:
            ConflictError: Slurm has it otherwise.
        """
        if not _lives(record):
            return False
        ticket = tickets.read_ticket(record.folder)
        folder = Path(ticket.array) if ticket is not None and ticket.array else None
        if ticket is None or folder is None or folder.parent.parent != self._folder:
            raise ConflictError(f"job `{record.job}` is already running")
        if folder not in self._watched:
            self._watched[folder] = _Watched(arrays.read_array(folder), {})
        watched = self._watched[folder]
        watched.live[watched.made.indices[record.job]] = record
        return True

    def _pass_on(self, record: JobRecord, notice: Notice) -> None:
        ticket = tickets.read_ticket(record.folder)
        word = None if ticket is None else QUEUE.known().of(ticket.comment, ticket.number)
        if word is not None and word.state == "RUNNING":
            supervision.notify(record.folder, notice)
        else:
            self._slurm.interrupt(Handle(record.target, record.job, record.folder), notice)

    def _ended(self) -> list[Rest]:
        known = QUEUE.known()
        if known.problem:
            return []
        found: list[Rest] = []
        for each in self._watched.values():
            if known.asked_at > each.made.asked_at:
                # Asked before it is looked who has taken what: an element that is gone by then
                # took nothing after that.
                begun = array.taken(str(each.made.folder))
                over = [i for i in each.live if _is_over(each, i, begun, known)]
                found += [Rest(each.live.pop(index).job) for index in over]
        self._watched = {folder: each for folder, each in self._watched.items() if each.live}
        return found


def _is_over(each: _Watched, index: int, begun: Mapping[int, str], known: Known) -> bool:
    """Return whether a job of an array has come to rest."""
    made = each.made
    if index not in begun:
        # Its own element would begin it. What nobody has begun is this process's from now on.
        return not _active(made, index, known) and arrays.give_back(made, index)
    if settled.is_over(each.live[index].folder, made.afters[index]):
        return True
    if index not in each.who:
        each.who[index] = array.taker(str(made.folder), index)
    who = each.who[index]
    return not who.isdigit() or not _active(made, int(who), known)


def _active(made: arrays.Array, element: int, known: Known) -> bool:
    ticket = made.ticket(element)
    word = known.of(ticket.comment, tickets.number_of(ticket))
    return word is not None and word.active


def _lives(record: JobRecord) -> bool:
    """Return whether a job is in Slurm's hands. Reads the disk; may ask Slurm."""
    held = os.path.exists(record.folder / names.TICKET_FILE)  # noqa: PTH110 - of each of thousands
    return held and presence.is_alive(record.folder)
