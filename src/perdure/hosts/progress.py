"""How far a transfer is, told once it takes longer than two seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from perdure.model.report import Report

MIB = 1 << 20
# Work that is shorter tells nothing.
QUIET_S = 2.0


class Progress:
    """Sums up what several streams have moved. Safe to use from several threads."""

    def __init__(
        self,
        report: Report,
        message: str,
        total: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report = report
        self._message = f"{message} (MiB)"
        self._total = max(1, total // MIB)
        self._clock = clock
        self._began = clock()
        self._lock = threading.Lock()
        self._streams: dict[object, int] = {}
        self._told = -1

    def __call__(self, count: int) -> None:
        """Note that the one stream there is has moved `count` bytes by now."""
        self.at(None, count)

    def at(self, stream: object, count: int) -> None:
        """Note that a stream has moved `count` bytes by now."""
        with self._lock:
            self._streams[stream] = count
            self._tell()

    def add(self, count: int) -> None:
        """Note `count` bytes more."""
        with self._lock:
            self._streams[None] = self._streams.get(None, 0) + count
            self._tell()

    def _tell(self) -> None:
        done = min(sum(self._streams.values()) // MIB, self._total)
        if done != self._told and self._clock() - self._began >= QUIET_S:
            self._told = done
            self._report(self._message, done=done, total=self._total)
