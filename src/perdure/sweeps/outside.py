"""Trials on a target that supervises its own jobs: containers, other machines."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Container, Mapping, Sequence
from pathlib import Path

from perdure.errors import ConflictError, PerdureError
from perdure.jobs import control, elsewhere
from perdure.jobs import folder as folders
from perdure.jobs.launch import resume, target_of
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord
from perdure.sweeps.asking import Asking
from perdure.sweeps.brought import bring
from perdure.sweeps.pool import Rest
from perdure.targets.protocol import Notice

_ASK_S = 10.0
_KILL_S = 60.0
# So many are asked after one by one.
_MOST = 100


class Outside(Asking):
    """The pool of every target but `local`: jobs are submitted one by one, and asked after."""

    def __init__(self, workspace: Workspace, base: JobRecord, passed: Mapping[str, str]) -> None:
        self._workspace = workspace
        self._passed = passed
        self._target = target_of(workspace, base)
        super().__init__()
        self._jobs: dict[str, Path] = {}
        self._noticed: set[str] = set()

    def mark(self, record: JobRecord) -> None:
        """Write down that a job is elsewhere, before it is a job."""
        elsewhere.mark(self._target, record)

    @property
    def most(self) -> int:
        """Return 1: each is submitted by itself."""
        return 1

    def room(self, most_running: int, busy: int) -> int:
        """Return how many more may run; a scheduler has a queue for those that cannot."""
        return (most_running or _MOST) - busy - len(self._jobs)

    def begin(
        self,
        records: Sequence[JobRecord],
        most_running: int = 0,  # noqa: ARG002 - the protocol's
        fresh: Container[str] = (),  # noqa: ARG002 - as above
    ) -> int:
        """Begin the first of the jobs. Raises as `perdure.jobs.launch.resume`."""
        record = records[0]
        resume(self._workspace, record, environment=self._passed)
        self._jobs[record.job] = record.folder
        return 1

    def running(self) -> int:
        """Return how many run, as far as is known."""
        return len(self._jobs)

    def adopt(self, records: Sequence[JobRecord]) -> Collection[str]:  # noqa: ARG002 - as above
        """Return none: each is asked after and told by itself, whoever began it."""
        return ()

    def notify(self, notice: Notice) -> Collection[str]:
        """Pass a notice on to all, once; a host that does not answer is not told."""
        unreached = []
        for job, folder in self._jobs.items():
            if job in self._noticed:
                continue
            try:
                with contextlib.suppress(ConflictError):
                    control.interrupt(folder, reason=notice.reason, deadline=notice.deadline)
                self._noticed.add(job)
            except PerdureError:
                unreached.append(job)
        return unreached

    def cancel(self, job: str) -> None:
        """End a job for good."""
        control.kill(self._jobs[job], timeout_s=_KILL_S)

    def _ended(self) -> list[Rest]:
        away = [folder for folder in self._jobs.values() if folders.is_elsewhere(folder)]
        with self._asked(away):
            ended = [job for job, folder in self._jobs.items() if not folders.is_alive(folder)]
        if not bring(self._jobs[job] for job in ended):
            return []  # they are asked after again
        for job in ended:
            del self._jobs[job]
            self._noticed.discard(job)
        return [Rest(job) for job in ended]

    def _asked(self, away: list[Path]) -> contextlib.AbstractContextManager[None]:
        if not away:
            return contextlib.nullcontext()
        from perdure.jobs.mirror import refreshed

        return refreshed(away, _ASK_S)
