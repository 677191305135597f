"""Notices: word that an interruption is coming, from a signal, the touched file or the supervisor.

A handler only sets a flag; it is acted upon at the next step boundary. Checkpointing inside the
handler tore 101 to 119 of 300 snapshots in other tools. SIGUSR2 and not SIGUSR1, which NCCL takes.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass
from types import FrameType
from typing import Optional

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)


@dataclass(frozen=True)
class Notice:
    """Why the run must stop, and by when (seconds since the epoch), if that is known."""

    reason: str
    deadline: Optional[float] = None


class Notices:
    """The flag, and those who set it."""

    def __init__(self, preempt_file: Optional[str], grace_s: float) -> None:
        self.preempt_file = preempt_file
        self.grace_s = grace_s
        self._flag: Optional[Notice] = None

    def install(self) -> None:
        """Take the signals, where this is the main thread."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: Optional[FrameType]) -> None:
        again = self._flag is not None and self._flag.reason == signal.SIGINT.name
        if again and number == signal.SIGINT:
            # Asked a second time at the keyboard: stop at once, as Python does.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt
        if self._flag is None:
            self._flag = Notice(signal.Signals(number).name, time.time() + self.grace_s)

    def mute(self) -> None:
        """Ignore the signals from now on: the process is about to end with a code of its own.

        Python gives them back to the system while it shuts down, and one that came then would make
        a death by signal of an end that had said what is durable.
        """
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)

    def give(self, notice: Notice) -> None:
        """Set the flag for another reason."""
        if self._flag is None:
            self._flag = notice

    def pending(self) -> Optional[Notice]:
        """Return the notice, if there is one. Looks at the touched file (1.5 us)."""
        if self._flag is None and self.preempt_file is not None:
            try:
                os.stat(self.preempt_file)
            except OSError:
                return None
            self._flag = Notice("file", time.time() + self.grace_s)
        return self._flag

    def acknowledge(self, generation: int) -> None:
        """Rename the touched file, so that it cannot stop the next attempt as well."""
        if self.preempt_file is not None:
            try:
                os.rename(self.preempt_file, f"{self.preempt_file}.ack-g{generation:06d}")
            except FileNotFoundError:
                pass  # the notice was another


def ignore_in_worker(then: object, worker: int) -> None:
    """Let a data loader's worker outlive the signals meant for its parent, then call `then`."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if callable(then):
        then(worker)
