"""Trials as the elements of Slurm's arrays: handed over many at once, and Slurm starts them.

What is handed over is in `arrays/` of the sweep's folder, where Slurm's commands are. Which trials
have begun, elements say there; whether an element is gone, Slurm does, asked once for all of them.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from perdure.errors import ConflictError, PerdureError, UsageError
from perdure.model.job import JobRecord
from perdure.model.sweep import trial_number
from perdure.sweeps.asking import Asking
from perdure.sweeps.hands import Hands
from perdure.sweeps.pool import Rest
from perdure.targets import slurm_array as arrays
from perdure.targets.protocol import Notice

FOLDER = "arrays"
_AGAIN_S = 10.0
# What Slurm answers where an account, or it itself, has as many jobs as it takes.
_ENOUGH = ("limit", "max", "temporarily unable", "invalid job array")


class Arrays(Asking):
    """The pool of a cluster. `folder` is the sweep's, `base` what its trials have in common."""

    def __init__(
        self, hands: Hands, folder: Path, base: JobRecord, passed: Mapping[str, str]
    ) -> None:
        super().__init__()
        self._hands = hands
        self._folder = folder
        self._base = replace(base, variables={**base.variables, **passed})
        self._size = hands.size()
        self._most = min(hands.most, self._size)
        # Those that have not come to rest, by their array and their index.
        self._live: dict[str, dict[int, JobRecord]] = {}
        # How many of an array Slurm runs at a time, where that is known.
        self._limits: dict[str, int] = {}
        self._not_before = 0.0

    @property
    def most(self) -> int:
        """Return how many an array can have, as far as Slurm has taken so many."""
        return self._most

    def room(self, most_running: int, busy: int) -> int:
        """Return how many jobs may be handed over: Slurm has a queue, and holds them back."""
        self._hold_to(most_running)
        handed = self.running()
        if not most_running:
            return self._hands.most - handed
        if not handed:
            return 0 if busy >= most_running else self._hands.most
        return max(0, most_running - handed - busy)

    def begin(
        self,
        records: Sequence[JobRecord],
        most_running: int = 0,
        fresh: Container[str] = (),
    ) -> int:
        """Hand jobs over, as many of the first as one array takes; return how many those are.

        Raises:
            ConflictError: the first one is in Slurm's hands, and not by this sweep.
            PerdureError: Slurm does not take them just now; fewer are tried next time.
        """
        asked = [each for each in records[: self._most] if each.job not in fresh]
        held = self._hands.held(asked) if asked else {}
        adopted = self._adopted(records, held)
        if adopted:
            return adopted
        block, jobs = self._together(records[: self._most], held)
        folder = self._folder / FOLDER / secrets.token_hex(4)
        log = arrays.log_pattern(self._base.sweep or "", block, self._size)
        order = arrays.Order(self._base, jobs, folder, log, most_running)
        try:
            there = self._hands.hand_over(order)
        except UsageError as error:
            if len(jobs) > 1 and any(word in error.message.lower() for word in _ENOUGH):
                self._most = max(1, len(jobs) // 2)
            raise
        self._most = min(self._hands.most, self._size, 2 * self._most)
        self._live[there] = dict(jobs)
        self._limits[there] = most_running
        return len(jobs)

    def running(self) -> int:
        """Return how many are in Slurm's hands."""
        return sum(map(len, self._live.values()))

    def adopt(self, records: Sequence[JobRecord]) -> Collection[str]:
        """Have jobs that an earlier driver handed over, and return which those are. Asks Slurm."""
        held = self._hands.held(records) if records else {}
        places = [(record, held.get(record.job)) for record in records]
        return [self._adopt(record, place) for record, place in places if place]

    def notify(self, notice: Notice) -> Collection[str]:
        """Pass a notice on to all that run; what has not begun is taken back from Slurm."""
        jobs = [record.job for each in self._live.values() for record in each.values()]
        return () if self._hands.notify(self._elements(), notice) else jobs

    def cancel(self, job: str) -> None:
        """Have a job end for good, within a tick or so."""
        for jobs in self._live.values():
            for record in jobs.values():
                if record.job == job:
                    self._hands.cancel(record.folder)

    def _hold_to(self, most_running: int) -> None:
        """Have arrays of Slurm's keep to what is wanted by now; who was not told is told later."""
        known = {folder: self._limits.get(folder) for folder in self._live}
        late = [folder for folder, most in known.items() if most != most_running]
        if not late or time.monotonic() < self._not_before:
            return
        try:
            self._hands.throttle(late, most_running)
        except PerdureError:
            self._not_before = time.monotonic() + _AGAIN_S
            return
        self._limits = dict.fromkeys(self._live, most_running)

    def _elements(self) -> list[tuple[str, list[int]]]:
        return [(folder, list(jobs)) for folder, jobs in self._live.items()]

    def _together(
        self, records: Sequence[JobRecord], held: Mapping[str, Sequence[str]]
    ) -> tuple[int, dict[int, JobRecord]]:
        """Return the first jobs that one array can have, by index, and their block of numbers."""
        block = self._number(records[0]) // self._size
        jobs: dict[int, JobRecord] = {}
        for record in records:
            number = self._number(record)
            if number // self._size != block or record.job in held:
                break
            jobs[number % self._size] = record
        return block, jobs

    def _number(self, record: JobRecord) -> int:
        return trial_number(self._base.sweep or "", record.job) or 0

    def _adopted(self, records: Sequence[JobRecord], held: Mapping[str, Sequence[str]]) -> int:
        """Return how many of the first jobs Slurm has by arrays of this sweep: watched from now on.

        Raises:
            ConflictError: Slurm has the first one otherwise.
        """
        for adopted, record in enumerate(records):
            place = held.get(record.job)
            if not place and place is not None and not adopted:
                raise ConflictError(f"job `{record.job}` is already running")
            if not place:
                return adopted
            self._adopt(record, place)
        return len(records)

    def _adopt(self, record: JobRecord, place: Sequence[str]) -> str:
        folder, index = place
        self._live.setdefault(folder, {})[int(index)] = record
        return record.job

    def _ended(self) -> list[Rest]:
        over = self._hands.over(self._elements())
        ended = [self._live[folder][index] for folder, found in over for index in found]
        if not ended:
            return []
        with contextlib.suppress(PerdureError):
            self._hands.bring([record.folder for record in ended])
            for folder, found in over:
                for index in found:
                    del self._live[folder][index]
            self._live = {folder: jobs for folder, jobs in self._live.items() if jobs}
            return [Rest(record.job) for record in ended]
        return []
