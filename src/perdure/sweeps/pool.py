"""Where a driver runs its trials: the one seam between a sweep and what executes it.

`local` has its jobs in the driver's own process; other targets are given them one by one. A
scheduler with arrays is a pool too: one that begins many at once.
"""

from __future__ import annotations

from collections.abc import Sequence
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

    def begin(self, records: Sequence[JobRecord]) -> None:
        """Begin jobs, or go on with them: one call for as many as there is room for.

        Raises:
            PerdureError: a job cannot be begun; those before it run.
            OSError: the disk refuses.
        """

    def running(self) -> int:
        """Return how many run."""

    def turn(self, timeout_s: float) -> list[Rest]:
        """Return the jobs that came to rest; at once where there are any, else after that time."""

    def notify(self, notice: Notice) -> None:
        """Pass a notice on to all that run."""

    def cancel(self, job: str) -> None:
        """End a job for good; it comes to rest."""

    def wake(self) -> str | None:
        """Return the name of a signal that asks this process to stop, None if none came."""

    def close(self) -> None:
        """Let go of what is held. Jobs that run go on."""
