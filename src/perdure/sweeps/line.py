"""Trials that wait: those that are to go on, and behind them those that never began."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator

from perdure.sweeps.backoff import Backoff


class Line:
    """The order in which trials begin. `known` are those that began once: they are not fresh."""

    def __init__(self, known: Iterable[int]) -> None:
        self.known = set(known)
        self._waiting: deque[int] = deque()
        self._fresh: Iterator[int] = iter(())
        self.backoff = Backoff()

    def count(self, trials: int) -> None:
        """Take in how many trials there are."""
        self._fresh = (trial for trial in range(1, trials + 1) if trial not in self.known)

    def found(self, seen: Collection[int], waiting: Iterable[int]) -> None:
        """Take in what was found: `seen` have run folders, and `waiting` of them are to go on."""
        self.known.update(seen)
        # Those that wait and have no run folder yet are nobody else's to remember.
        unmade = [trial for trial in self._waiting if trial not in seen]
        self._waiting = deque([*sorted(waiting), *unmade])

    def left(self) -> bool:
        """Return whether there are trials that never began; the next one waits last in line."""
        trial = next(self._fresh, None)
        if trial is None:
            return False
        self.known.add(trial)
        self._waiting.append(trial)
        return True

    @property
    def last(self) -> int:
        """Return the one that waits last."""
        return self._waiting[-1]

    def any(self) -> bool:
        """Return whether any waits, or never began."""
        return bool(self._waiting) or self.left()

    def append(self, trial: int) -> None:
        """Have a trial wait behind the others."""
        self._waiting.append(trial)

    def first(self, trials: Iterable[int]) -> None:
        """Have trials wait before the others, in their order."""
        self._waiting.extendleft(reversed([*trials]))

    def take(self) -> int | None:
        """Return who is next, None where nobody is, or all have to wait for a while."""
        for _ in range(len(self._waiting)):
            trial = self._waiting.popleft()
            if self.backoff.over(trial, time.monotonic()):
                return trial
            self._waiting.append(trial)
        return self._waiting.pop() if self.left() else None
