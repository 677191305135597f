"""Trials on this machine, supervised by the driver itself: no process between it and them."""

from __future__ import annotations

import os
from collections.abc import Collection, Container, Mapping, Sequence

from perdure.errors import ConflictError
from perdure.jobs import custody
from perdure.jobs import folder as folders
from perdure.jobs.launch import prepared, target_of
from perdure.jobs.workspace import Workspace
from perdure.model.job import JobRecord
from perdure.runtime import names
from perdure.runtime.supervisor.lock import AlreadyRunning
from perdure.runtime.supervisor.notice import Notice as Word
from perdure.runtime.supervisor.options import Options
from perdure.runtime.supervisor.several import Ended, Several
from perdure.runtime.supervisor.signals import Signals
from perdure.sweeps.pool import Rest
from perdure.targets.protocol import Notice, Plan
from perdure.targets.supervision import without_job


def _rest(ended: Ended) -> Rest:
    job, verdict = os.path.basename(ended.run_dir), ended.verdict  # noqa: PTH119 - of thousands
    if verdict is None:
        return Rest(job)
    return Rest(job, ended.attempt, verdict.state or "", verdict.why, verdict.code)


class Inside:
    """The pool of `local`. Its process belongs to it: signals, children, working directory."""

    def __init__(self, workspace: Workspace, base: JobRecord, passed: Mapping[str, str]) -> None:
        plan = prepared(workspace, target_of(workspace, base), base, passed)
        self._plan: Plan = plan
        self._target = base.target
        self._results = workspace.project.results
        self._around = without_job(os.environ) | dict(plan.environment)
        self._fixed = len(base.arguments)
        self._signals = Signals()
        self._jobs = Several(self._signals)

    @property
    def holds(self) -> bool:
        """Return that this process is the supervisor of its jobs."""
        return True

    @property
    def most(self) -> int:
        """Return 1: each is a process of its own."""
        return 1

    def room(self, most_running: int, busy: int) -> int:
        """Return how many more may run."""
        return most_running - busy - len(self._jobs)

    def begin(
        self,
        records: Sequence[JobRecord],
        most_running: int = 0,  # noqa: ARG002 - the protocol's
        fresh: Container[str] = (),
    ) -> int:
        """Begin the first of the jobs.

        Raises:
            ConflictError: another supervisor holds its run folder, somebody has ended it, or has it
                go elsewhere.
            OSError: the disk refuses.
        """
        record = records[0]
        try:
            # Whoever moves a job holds it: what its record says of where it is stands from here on.
            with custody.starting(record.folder):
                if folders.target_of(record.folder) != self._target:
                    raise ConflictError(f"job `{record.job}` went elsewhere")
                self._jobs.begin(self._options(record), fresh=record.job in fresh)
        except AlreadyRunning:
            raise ConflictError(f"job `{record.job}` is already running") from None
        return 1

    def running(self) -> int:
        """Return how many run."""
        return len(self._jobs)

    def turn(self, timeout_s: float) -> list[Rest]:
        """Return the jobs that came to rest."""
        return [_rest(ended) for ended in self._jobs.turn(timeout_s)]

    def adopt(self, records: Sequence[JobRecord]) -> Collection[str]:  # noqa: ARG002 - as above
        """Return none: jobs of a driver that is gone are nobody's."""
        return ()

    def notify(self, notice: Notice) -> Collection[str]:
        """Pass a notice on to all."""
        self._jobs.notify(Word(notice.reason, notice.deadline))
        return ()

    def cancel(self, job: str) -> None:
        """Touch its CANCEL, which is looked at within a tick."""
        (self._results / job / names.CANCEL).touch()

    def wake(self) -> str | None:
        """Return the name of a signal that asks this process to stop."""
        return self._signals.take()

    def close(self) -> None:
        """Make durable what is not yet."""
        self._jobs.close()
        self._signals.restore()

    def _options(self, record: JobRecord) -> Options:
        own = record.arguments[self._fixed :]
        return Options(
            run_dir=os.fspath(record.folder),
            command=(*self._plan.command, *own),
            job=record.job,
            cwd=os.fspath(self._plan.cwd),
            seed=record.seed,
            grace_s=record.limits.grace_s,
            retries=record.limits.retries,
            around=self._around,
        )
