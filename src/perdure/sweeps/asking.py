"""What pools have in common whose jobs have supervisors of their own: they are asked after."""

from __future__ import annotations

import time

from perdure.runtime.supervisor.signals import Signals
from perdure.sweeps.pool import Rest

LOOK_S = 0.5


class Asking:
    """Looks now and then which jobs came to rest; what that means, `_ended` says."""

    def __init__(self, every_s: float = LOOK_S) -> None:
        self._signals = Signals()
        self._every_s = every_s
        self._look = 0.0

    @property
    def holds(self) -> bool:
        """Return that its jobs have supervisors of their own."""
        return False

    def turn(self, timeout_s: float) -> list[Rest]:
        """Return the jobs that came to rest. Asks who has them, not all the time."""
        until = time.monotonic() + timeout_s
        while True:
            now = time.monotonic()
            if now >= self._look:
                self._look = now + self._every_s
                ended = self._ended()
                if ended:
                    return ended
            if now >= until or self._signals.arrived:
                return []
            self._signals.wait((), min(until, self._look) - now)

    def wake(self) -> str | None:
        """Return the name of a signal that asks this process to stop."""
        return self._signals.take()

    def close(self) -> None:
        """Let go of the signals."""
        self._signals.restore()

    def _ended(self) -> list[Rest]:
        """Return the jobs that came to rest since the last look, which are forgotten then."""
        raise NotImplementedError
