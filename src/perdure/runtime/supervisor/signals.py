"""The signals that reach the supervisor: a handler notes the number and wakes the loop, no more."""

from __future__ import annotations

import os
import select
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType
    from typing import Protocol

    class Arrivals(Protocol):
        """What a watch asks of the signals, be they this process's or handed on by another part."""

        def take(self) -> str | None:
            """Return the name of the next signal, None if none came."""

        def wake(self) -> None:
            """Wake who waits."""

        def wait(self, fds: Sequence[int], timeout_s: float) -> object:
            """Return when there is something to look at."""


# USR1 would otherwise end the supervisor, and Slurm's --signal sends it as often as USR2.
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
# A terminal that goes away is no reason to stop; a child that ends is one to look.
WAKING = (signal.SIGHUP, signal.SIGCHLD)
_DRAINED = 4096


class Signals:
    """The handlers and the pipe that wakes the loop. Usable from the main thread only."""

    def __init__(self) -> None:
        self.arrived: list[str] = []
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, self._note) for number in STOPPING + WAKING}
        # Whoever started us may have blocked them, and a mask survives exec.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING + WAKING)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if number in STOPPING and name not in self.arrived:
            self.arrived.append(name)

    def take(self) -> str | None:
        """Return the name of a signal that asks for a stop, first come first; None if none did."""
        return self.arrived.pop(0) if self.arrived else None

    def wake(self) -> None:
        """Wake the loop, from any thread."""
        try:
            os.write(self._writer, b"\0")
        except OSError:  # full (it wakes anyway), or closed at the end
            pass

    def wait(self, fds: Sequence[int], timeout_s: float) -> list[int]:
        """Return the readable descriptors: when a signal came, one is, or the time is over."""
        poller = select.poll()  # select() refuses descriptors from 1024 on
        for fd in (self._reader, *fds):
            poller.register(fd, select.POLLIN)
        ready = [fd for fd, _ in poller.poll(max(0.0, timeout_s) * 1000)]
        if self._reader in ready:
            os.read(self._reader, _DRAINED)
        return ready

    def restore(self) -> None:
        """Put back what was there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._reader)
        os.close(self._writer)
        self._writer = -1  # a thread may still call wake()
