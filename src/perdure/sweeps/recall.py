"""A stopped sweep's jobs called back: also those that its driver did not begin itself.

They may be in a scheduler's queue since a driver that was killed, go on in containers or on other
machines, be supervised by somebody who resumed them by hand; or a dead driver has left their
processes behind. Whoever is not reached is asked again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from perdure.errors import ConflictError, PerdureError
from perdure.jobs import control, custody, ending
from perdure.jobs import folder as folders
from perdure.jobs.launch import clear_strays
from perdure.jobs.ledger import hosts_asked, statuses
from perdure.jobs.workspace import Workspace
from perdure.model.job import ALIVE, JobRecord, JobStatus, State
from perdure.sweeps.holding import STOPPED
from perdure.sweeps.ownership import trial_told
from perdure.sweeps.pool import Pool
from perdure.targets.protocol import Notice

# So many dead jobs' processes are waited for at a time.
_AT_A_TIME = 8
_WANTED = ALIVE | {State.QUEUED, State.LOST}


@dataclass(frozen=True, slots=True)
class Called:
    """Trials that were called back: those that the pool has from now on, and those of others."""

    adopted: dict[int, JobRecord] = field(default_factory=dict)
    others: dict[int, Path] = field(default_factory=dict)


class Recall:
    """Calls back what runs of a sweep, and knows whether all of it has heard."""

    def __init__(self, workspace: Workspace, sweep: str, pool: Pool) -> None:
        self._workspace = workspace
        self._sweep = sweep
        self._pool = pool
        self._heard: set[int] = set()
        self._unreached: dict[str, str] = {}
        self.done = True

    @property
    def problem(self) -> str:
        """Return who was not reached, and why; "" where all were."""
        if not self._unreached:
            return ""
        job, why = next(iter(self._unreached.items()))
        more = f"; nor were {len(self._unreached) - 1} more" if len(self._unreached) > 1 else ""
        return f"`{job}` was not reached" + (f": {why}" if why else "") + more

    def begin(self) -> None:
        """Have all of it called back from now on."""
        self._heard.clear()
        self.done = False

    def turn(self, running: Container[int]) -> Called:
        """Return whom else there is to wait for; `running` are the pool's. Asks who has them."""
        self._unreached = {}
        called = Called()
        try:
            found = self._found(running)
            called.adopted.update(self._adopted(found))
        except (PerdureError, OSError) as error:
            self._unreached[self._sweep] = _said(error)
        else:
            rest = {trial: each for trial, each in found.items() if trial not in called.adopted}
            called.others.update(self._asked(rest))
            self._clear([t for t, each in rest.items() if each.state is State.LOST], rest)
        for job in self._pool.notify(Notice(STOPPED)):
            self._unreached.setdefault(job, "")
        self.done = not self._unreached
        return called

    def _found(self, running: Container[int]) -> dict[int, JobStatus]:
        """Return the trials that may run and have not heard of it."""
        numbered = [
            (trial_told(self._sweep, status), status)
            for status in statuses(self._workspace, all=True)
            if status.state in _WANTED
        ]
        return {
            trial: status
            for trial, status in numbered
            if trial is not None and trial not in running and trial not in self._heard
        }

    def _adopted(self, found: Mapping[int, JobStatus]) -> dict[int, JobRecord]:
        """Return the trials that the pool has from now on: an earlier driver handed them over."""
        records = {t: folders.read_record(each.record.folder) for t, each in found.items()}
        taken = set(self._pool.adopt(list(records.values())))
        return {trial: record for trial, record in records.items() if record.job in taken}

    def _asked(self, found: Mapping[int, JobStatus]) -> dict[int, Path]:
        """Ask whoever has trials to save and stop; return those that are to be waited for."""
        with hosts_asked(each.record.folder for each in found.values()):
            alive = {t: each for t, each in found.items() if folders.is_alive(each.record.folder)}
        for trial, status in alive.items():
            with self._hearing(trial, status):
                if status.state is not State.STOPPING:
                    control.interrupt(status.record.folder, reason=STOPPED)
        return {trial: status.record.folder for trial, status in alive.items()}

    def _clear(self, lost: Sequence[int], found: Mapping[int, JobStatus]) -> None:
        """Have what dead supervisors have left running save and end."""

        def clear(trial: int) -> None:
            with self._hearing(trial, found[trial]):
                record = folders.read_record(found[trial].record.folder)
                with custody.starting(record.folder):
                    if not folders.is_alive(record.folder):
                        self._end(record)

        with ThreadPoolExecutor(_AT_A_TIME) as several:
            list(several.map(clear, lost))

    def _end(self, record: JobRecord) -> None:
        folder = record.folder
        clear_strays(self._workspace, record)
        if not (folders.is_elsewhere(folder) or folders.is_scheduled(folder)):
            # Or it would be one that was lost, which `perdure recover` goes on with.
            ending.interrupted(folder, time.time())

    @contextlib.contextmanager
    def _hearing(self, trial: int, status: JobStatus) -> Iterator[None]:
        try:
            yield
        except ConflictError:
            pass  # it ended just now, or begins or moves: it is looked at again
        except (PerdureError, OSError) as error:
            self._unreached[status.record.job] = _said(error)
            return
        self._heard.add(trial)


def _said(error: PerdureError | OSError) -> str:
    if isinstance(error, PerdureError):
        return error.message
    return (error.strerror or str(error)).lower()
