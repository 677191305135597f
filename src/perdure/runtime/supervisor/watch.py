"""Everything that can ask the training to stop, in one place: signals, touched files, clouds."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Tuple

from perdure.runtime import generation as generations
from perdure.runtime import names
from perdure.runtime.supervisor.notice import Notice, TouchedFile, last_words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perdure.runtime.supervisor.options import Options
    from perdure.runtime.supervisor.signals import Arrivals

# Descriptors of which one is to become readable, and the seconds that may pass before.
Wait = Tuple[Tuple[int, ...], float]
TICK_S = 0.1
# How often it is looked whether another attempt has taken over.
FENCE_S = 1.0


class Watch:
    """What was asked and not answered yet. `post` and `warn` may be called from any thread."""

    def __init__(self, options: Options, signals: Arrivals) -> None:
        self._options = options
        self._signals = signals
        self._preempt = TouchedFile(options.run_dir, names.PREEMPT, "file")
        self._cancel = TouchedFile(options.run_dir, names.CANCEL, "cancel")
        self._posted: deque[Notice] = deque()
        self._warnings: deque[str] = deque()
        self._approvals: list[Callable[[], None]] = []
        self._watching = False
        self._fence_at = 0.0

    def drop_stale(self, generation: int) -> None:
        """Put aside the files that an attempt before this supervisor was there to hear."""
        before = last_words(self._options.run_dir, generation)
        self._preempt.drop_stale(before, generation)
        self._cancel.drop_stale(before, generation)

    def start_clouds(self) -> None:
        """Start to watch the clouds that were asked for, each in a thread; once."""
        if self._watching or not self._options.watch:
            return
        self._watching = True
        from perdure.runtime.supervisor import clouds  # brings in http.client

        self._approvals = clouds.start(self._options, self)

    def approve(self) -> None:
        """Tell the clouds that they may go ahead, where that was asked for: nothing runs now."""
        if self._options.approve:
            for approval in self._approvals:
                approval()

    def cancelled(self, generation: int) -> bool:
        """Return whether the training is to stop for good."""
        return self._cancel.take(generation) is not None

    def notice(self, generation: int) -> Notice | None:
        """Return the next notice, None when there is none. The touched file goes first."""
        touched = self._preempt.take(generation)
        if touched is not None:
            return touched
        if self._posted:
            return self._posted.popleft()
        name = self._signals.take()
        return None if name is None else Notice(name)

    def superseded(self, generation: int, *, at_once: bool = False) -> bool:
        """Return whether a newer attempt owns the run folder: a scheduler began it elsewhere.

        Looks once a second, unless it is to be known `at_once`.
        """
        now = time.monotonic()
        if self._options.scheduled_after is None or (now < self._fence_at and not at_once):
            return False
        self._fence_at = now + FENCE_S
        try:
            return generations.newest(self._options.run_dir) > generation
        except OSError:
            return False  # nobody can say just now

    def warning(self) -> str | None:
        """Return the next warning of a cloud's thread, None when there is none."""
        return self._warnings.popleft() if self._warnings else None

    def post(self, notice: Notice) -> None:
        """Hand over a notice and wake the loop."""
        self._posted.append(notice)
        self._signals.wake()

    def warn(self, text: str) -> None:
        """Hand over a warning."""
        self._warnings.append(text)

    def wait(self, fds: Sequence[int], timeout_s: float) -> None:
        """Return at the next signal, readable descriptor or tick."""
        self._signals.wait(fds, min(TICK_S, timeout_s))
