"""Trials that are not the driver's own: somebody resumed or moved them, or is in their way."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from perdure.jobs import folder as folders
from perdure.jobs.ledger import hosts_asked
from perdure.jobs.lifecycle import read_status
from perdure.model.job import JobStatus
from perdure.sweeps.brought import bring
from perdure.sweeps.ownership import in_the_way


class Others:
    """They are looked at, and none is begun. `target` is where the sweep's own jobs run."""

    def __init__(self, sweep: str, target: str, folder: Callable[[int], Path]) -> None:
        self._sweep = sweep
        self._target = target
        self._folder = folder
        self._folders: dict[int, Path] = {}
        # Those that nobody runs and that are left alone all the same, and why.
        self._alone: dict[int, str] = {}

    @property
    def held(self) -> Collection[int]:
        """Return the trials that others have, running or not."""
        return self._folders.keys()

    @property
    def running(self) -> Collection[int]:
        """Return the trials that others have, but for those that rest with whoever moved them."""
        return self._folders.keys() - self._alone.keys()

    @property
    def why(self) -> str:
        """Return which trials are left alone, and why; "" where none is."""
        found = [self._alone[trial] for trial in sorted(self._alone)]
        more = f"; and {len(found) - 1} more" if len(found) > 1 else ""
        return f"{found[0]}{more}" if found else ""

    def add(self, trial: int, folder: Path) -> None:
        """Take in that others run a trial."""
        self._folders[trial] = folder

    def drop(self, trial: int) -> None:
        """Take in that a trial is others' no more."""
        self._folders.pop(trial, None)
        self._alone.pop(trial, None)

    def leave(self, trial: int) -> None:
        """Leave a trial to those who have it, or have a job in its way that is none of ours."""
        folder = self._folder(trial)
        why = in_the_way(self._sweep, trial, folder)
        if why:
            self._alone[trial] = f"{why}: trial {trial} did not run"
        else:
            self._folders[trial] = folder

    def left_alone(self) -> list[int]:
        """Return the trials that others' jobs are in the way of, and forget of them."""
        found = [trial for trial in self._alone if trial not in self._folders]
        for trial in found:
            del self._alone[trial]
        return found

    def rested(self) -> list[tuple[int, JobStatus]]:
        """Return the trials that nobody runs. Asks their hosts; what they wrote is here then."""
        with hosts_asked(self._folders.values()):
            found = [t for t, folder in self._folders.items() if not folders.is_alive(folder)]
        for trial in self._folders.keys() - set(found):
            self._alone.pop(trial, None)
        if not bring(self._folders[trial] for trial in found):
            return []
        return [(trial, read_status(self._folders[trial])) for trial in found]

    def keep(self, trial: int, status: JobStatus) -> bool:
        """Return whether a trial that is to go on rests with whoever moved it.

        They go on with it there, and nobody else does: there are never two who write.
        """
        if status.target == self._target:
            return False
        job = status.record.job
        self._alone[trial] = f"`{job}` was moved to `{status.target}`: perdure resume {job}"
        return True
