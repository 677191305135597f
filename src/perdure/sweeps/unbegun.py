"""Trials that came to rest before an attempt of theirs began: once may be bad luck. Pure."""

from __future__ import annotations

from perdure.model.job import JobRecord
from perdure.runtime import names

#: So often in a row, and nobody believes that the next time will be another.
MOST = 3


class Unbegun:
    """Counts them by trial, as long as nothing begins at all."""

    def __init__(self) -> None:
        self._before: dict[int, int] = {}
        self._streaks: dict[int, int] = {}

    def handed(self, trial: int, attempt: int) -> None:
        """Take in that a trial was handed over after an attempt, 0 for none."""
        if attempt:
            self._before[trial] = attempt

    def rested(self, trial: int, attempt: int) -> int:
        """Return how often in a row a trial did not begin; 0: it did, with that attempt."""
        if attempt > self._before.pop(trial, 0):
            self._streaks.clear()
            return 0
        streak = self._streaks[trial] = self._streaks.get(trial, 0) + 1
        return streak


def told(record: JobRecord, times: int) -> str:
    """Return what is said of a job that did not begin so many times in a row."""
    again = f", {times} times in a row" if times > 1 else ""
    return (
        f"`{record.target}` ended `{record.job}` before it began{again}: "
        f"perdure logs {record.job}, or `{names.SCHEDULER_LOG}` in its run folder"
    )
