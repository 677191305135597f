"""Where a driver runs its trials: the one seam between a sweep and what executes it.

`local` has its jobs in the driver's own process; other targets are given them one by one, and a
scheduler with arrays many at once, which wait in its queue.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass
from typing import Protocol

from perdure.model.job import JobRecord
from perdure.targets.protocol import Notice


@dataclass(frozen=True, slots=True)
class Rest:
    """A job that runs no more.

    Where its end is known to be written down: its attempt, its state, why, and its exit code.
    """

    job: str
    attempt: int = 0
    state: str = ""
    reason: str = ""
    code: int | None = None


class Pool(Protocol):
    """Runs jobs whose run folders are there."""

    @property
    def holds(self) -> bool:
        """Return whether its jobs lose their supervisor when this process ends."""

    @property
    def most(self) -> int:
        """Return how many jobs one call of `begin` can make use of."""

    def room(self, most_running: int, busy: int) -> int:
        """Return how many jobs may be begun now.

        `most_running` are to run at a time (0: as many as the target can have), of which `busy`
        are others' and not this pool's.
        """

    def begin(
        self, records: Sequence[JobRecord], most_running: int = 0, fresh: Container[str] = ()
    ) -> int:
        """Begin jobs, or go on with them; return how many of the first were begun, at least one.

        `fresh` are those whose run folders were just made, with nothing else in them.

        Raises:
            ConflictError: somebody else runs the first one.
            PerdureError: the first one cannot be begun; none is.
            OSError: the disk refuses.
        """

    def running(self) -> int:
        """Return how many run."""

    def turn(self, timeout_s: float) -> list[Rest]:
        """Return the jobs that came to rest; at once where there are any, else after that time."""

    def adopt(self, records: Sequence[JobRecord]) -> Collection[str]:
        """Have jobs that an earlier driver of the sweep handed over; return which those are.

        Raises PerdureError where nobody can say.
        """

    def notify(self, notice: Notice) -> Collection[str]:
        """Pass a notice on to all that run; return the jobs that were not reached."""

    def cancel(self, job: str) -> None:
        """End a job for good; it comes to rest."""

    def wake(self) -> str | None:
        """Return the name of a signal that asks this process to stop, None if none came."""

    def close(self) -> None:
        """Let go of what is held. Jobs that run go on."""
