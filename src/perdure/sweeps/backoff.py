"""How long a trial waits that was interrupted again and again without coming further. Pure."""

from __future__ import annotations

_LONGEST_S = 60.0


class Backoff:
    """Waits by trial. Times are seconds of any steady clock."""

    def __init__(self) -> None:
        self._streaks: dict[int, int] = {}
        self._steps: dict[int, int] = {}
        self._until: dict[int, float] = {}

    def interrupted(self, trial: int, durable_step: int | None, now: float) -> None:
        """Take in an interruption: the first one without progress waits for nothing."""
        step = -1 if durable_step is None else durable_step
        if step > self._steps.get(trial, -1):
            self._steps[trial] = step
            self._streaks.pop(trial, None)
            self._until.pop(trial, None)
            return
        self.failed(trial, now, free=1)

    def failed(self, trial: int, now: float, *, free: int = 0) -> None:
        """Take in that a trial could not be begun; the first `free` times it need not wait."""
        streak = self._streaks[trial] = self._streaks.get(trial, 0) + 1
        if streak > free:
            self._until[trial] = now + min(_LONGEST_S, 0.5 * 2.0 ** min(streak - free, 30))

    def succeeded(self, trial: int) -> None:
        """Take in that it could be begun after all."""
        self._streaks.pop(trial, None)
        self._until.pop(trial, None)

    def over(self, trial: int, now: float) -> bool:
        """Return whether a trial need not wait any more."""
        return now >= self._until.get(trial, now)
