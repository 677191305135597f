"""Trials that came to rest before an attempt of theirs began: once may be bad luck."""

from __future__ import annotations

from pathlib import Path

from perdure.model.job import JobRecord
from perdure.runtime import names

#: So often in a row, and nobody believes that the next time will be another.
MOST = 3
_MOST_BYTES = 4096
_LONGEST = 120


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
    """Return what is said of a job that did not begin so many times in a row. Reads the disk."""
    again = f", {times} times in a row" if times > 1 else ""
    why = f"`{record.target}` ended `{record.job}` before it began{again}"
    said = _last_line(record.folder / names.SCHEDULER_LOG)
    if said:
        return f"{why}: {record.results.name}/{record.job}/{names.SCHEDULER_LOG} ends with `{said}`"
    return (
        f"{why}: perdure show {record.job}, and what its scheduler logged in its run folder there"
    )


def _last_line(log: Path) -> str:
    """Return the end of the last line of a log, "" where there is none."""
    try:
        lines = log.read_bytes()[-_MOST_BYTES:].decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")[-_LONGEST:]
