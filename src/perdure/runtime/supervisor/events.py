"""The events of an attempt: `attempts/NNNNNN.jsonl`, one JSON object a line.

A disk that is full or broken costs events, never the training: it is said once on standard error,
and each later event tries again.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Union

from perdure.runtime import names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from perdure.runtime.supervisor.complaint import Complaint

Value = Union[None, bool, int, float, str, "list[str]"]
STEP_EVERY_S = 1.0


class Events:
    """Appends to the event file of one attempt. `now` tells unix seconds."""

    def __init__(
        self,
        run_dir: str,
        generation: int,
        complaint: Complaint,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.path = os.path.join(run_dir, names.ATTEMPTS, names.numbered(generation, ".jsonl"))
        self._complaint = complaint
        self._now = now
        self._fd = -1
        self._torn = False
        # Whether the last event was written.
        self.whole = False

    def write(self, event: str, fields: Mapping[str, Value] | None = None) -> None:
        """Append one event. Touches the disk; a failure is complained about, never raised."""
        line = {"t": self._now(), "event": event}
        line.update({name: value for name, value in (fields or {}).items() if name not in line})
        self.whole = False
        try:
            self._append(json.dumps(line).encode() + b"\n")
            self.whole = True
        except OSError as error:
            self._complaint.say(f"cannot write events: {error}; the training goes on without them")

    def sync(self) -> None:
        """Make what was written durable."""
        if self._fd >= 0:
            try:
                os.fsync(self._fd)
            except OSError as error:
                self._complaint.say(f"cannot make events durable: {error}")

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, line: bytes) -> None:
        if self._fd < 0:
            self._fd = names.opened(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        if self._torn:  # so that a line cut by a full disk spoils no other
            line = b"\n" + line
        written = os.write(self._fd, line)
        self._torn = written < len(line) and not self._take_back(written)
        if written < len(line):
            raise OSError(f"only {written} of {len(line)} bytes were written to `{self.path}`")

    def _take_back(self, written: int) -> bool:
        """Return whether the piece of a line could be cut off again."""
        try:
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
        except OSError:
            return False
        return True


class Steps:
    """Lets one step a second through, and keeps the last one for the end."""

    def __init__(self) -> None:
        self._written_at = float("-inf")
        self._waiting: int | None = None

    def offer(self, step: int, now: float) -> int | None:
        """Return the step if it is time to write one; `now` in seconds of any steady clock."""
        self._waiting = step
        return self.due(now)

    def due(self, now: float) -> int | None:
        """Return the step that waits, once its second is over."""
        if self._waiting is None or now - self._written_at < STEP_EVERY_S:
            return None
        self._written_at = now
        return self.flush()

    def flush(self) -> int | None:
        """Return the step that waits, if any: nothing is left waiting."""
        step, self._waiting = self._waiting, None
        return step
