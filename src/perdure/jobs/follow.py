"""What a job does, as it does it: its output and its events, across attempts."""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from perdure.jobs import folder as folders
from perdure.model.job import Event, LogText

POLL_S = 0.1
_BLOCK = 1 << 20
# What tells that an attempt is over: it comes after everything the attempt wrote.
_AFTER_OUTPUT = frozenset({"exited", "waiting", "ended"})


def follow(
    folder: Path,
    *,
    stop: Callable[[], bool],
    poll_s: float = POLL_S,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[LogText | Event]:
    """Yield output and events in order, from the first attempt on. Reads the disk.

    Ends when nothing more can come: the job has ended and its supervisor is gone, or the
    supervisor died without a word (then the last event is no `ended`). `stop` is asked at each
    look; once it says so, what is there by then is still yielded.
    """
    trail = _Trail(folder)
    while True:
        # Both asked before looking: whatever was written before is then seen.
        alive = folders.is_alive(folder)
        last = stop() or not alive
        quiet = True
        for item in trail.look(last=last):
            quiet = False
            yield item
        if last:
            return
        if quiet:
            pause(poll_s)


class _Trail:
    """How far a job has been followed: the attempt that is read now."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._attempt: _Attempt | None = None

    def look(self, *, last: bool) -> Iterator[LogText | Event]:
        """Yield what is new; `last`: nobody writes any more."""
        done = 0 if self._attempt is None else self._attempt.number
        for number in [n for n in folders.attempts(self._folder) if n > done]:
            # Where a newer attempt has begun, nobody writes to the one before.
            yield from self._attempt.rest() if self._attempt else ()
            self._attempt = _Attempt(self._folder, number)
        if self._attempt is not None:
            yield from self._attempt.rest() if last else self._attempt.look()


class _Attempt:
    """How far one attempt's two files have been read."""

    def __init__(self, folder: Path, number: int) -> None:
        self.number = number
        self._events = folders.events_path(folder, number)
        self._log = folders.log_path(folder, number)
        self._events_at = 0
        self._log_at = 0
        self._torn = b""
        # A character may be cut in two by where the file ended at the last look.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def look(self) -> Iterator[LogText | Event]:
        """Yield what is new: the output before the words that the attempt is over."""
        events = self._new_events()
        late = next((i for i, e in enumerate(events) if e.name in _AFTER_OUTPUT), len(events))
        yield from events[:late]
        yield from self._new_text()
        yield from events[late:]

    def rest(self) -> Iterator[LogText | Event]:
        """Yield what is left of an attempt that nobody writes to any more."""
        yield from self.look()
        text = self._decoder.decode(b"", final=True)
        if text:
            yield LogText(self.number, text)

    def _new_events(self) -> list[Event]:
        data = self._torn
        while block := _from(self._events, self._events_at):
            self._events_at += len(block)
            data += block
        *lines, self._torn = data.split(b"\n")
        found = (folders.read_event(line, self.number) for line in lines)
        return [event for event in found if event is not None]

    def _new_text(self) -> Iterator[LogText]:
        while data := _from(self._log, self._log_at):
            self._log_at += len(data)
            text = self._decoder.decode(data)
            if text:
                yield LogText(self.number, text)


def _from(path: Path, start: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(_BLOCK)
    except OSError:
        return b""
