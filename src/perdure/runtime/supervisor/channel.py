"""What the training tells: JSON lines on a socket, or in `attempts/NNNNNN.ctl` without one.

Whatever comes is judged: unknown events, wrong types and endless lines are dropped, and never more
than a line of `LONGEST_LINE` bytes is held.
"""

from __future__ import annotations

import json
import math
import os
import socket
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perdure.runtime.supervisor.events import Value
    from perdure.runtime.supervisor.notice import Notice

LONGEST_LINE = 65536
_CHUNK = 16384
# One look reads this much at most, so that a child that floods the channel cannot hold the loop.
_CHUNKS_A_LOOK = 8
_NEEDED = {"restored": "step", "step": "step", "durable": "step", "exiting": "code"}
_KNOWN = ("hello", "restored", "step", "durable", "warning", "exiting")


class Message(NamedTuple):
    """One line of the training: its event and its fields; `number` is its step or its exit code."""

    event: str
    fields: dict[str, Value]
    number: int = 0


def read_message(line: bytes) -> Message | None:
    """Return the message in a line, None if it is none that a training may send."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or told.get("event") not in _KNOWN:
        return None
    event = str(told["event"])
    fields: dict[str, Value] = {
        str(name): value
        for name, value in told.items()
        if name not in ("event", "t") and _plain(value)
    }
    needed = _NEEDED.get(event)
    if needed is None:
        return Message(event, fields)
    number = fields.get(needed)
    if isinstance(number, bool) or not isinstance(number, int):
        return None
    return Message(event, fields, number)


def _plain(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, (bool, int, str))


class Lines:
    """Bytes in, whole lines out."""

    def __init__(self) -> None:
        self._rest = b""
        self._skipping = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield each line that `data` completes; one that is too long comes out as b''."""
        *whole, rest = (self._rest + data).split(b"\n")
        for line in whole:
            yield b"" if self._skipping or len(line) > LONGEST_LINE else line
            self._skipping = False
        if len(rest) > LONGEST_LINE:
            self._skipping, rest = True, b""
        self._rest = rest


class Channel:
    """The supervisor's end of the socket; `theirs` is the child's until `started()`."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._lines = Lines()
        self.open = True

    def started(self) -> None:
        """Let go of the child's end: it has its own copy now."""
        self.theirs.close()

    def fds(self) -> tuple[int, ...]:
        """Return the descriptors worth waiting for."""
        return (self._ours.fileno(),) if self.open else ()

    def hear(self) -> Iterator[bytes]:
        """Yield the lines that have come. Never waits."""
        for _ in range(_CHUNKS_A_LOOK):
            if not self.open:
                return
            try:
                data = self._ours.recv(_CHUNK)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                data = b""
            if not data:
                self.open = False
            yield from self._lines.feed(data)

    def tell(self, notice: Notice) -> None:
        """Send the notice. A child that does not listen has the signal that follows."""
        line = json.dumps({"notice": {"reason": notice.reason, "deadline": notice.deadline}})
        try:
            self._ours.send(line.encode() + b"\n")
        except OSError:
            pass

    def close(self) -> None:
        """Close both ends."""
        self.open = False
        self._ours.close()
        self.theirs.close()


class Tail:
    """The lines that ranks without the socket append to a file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._lines = Lines()

    def hear(self) -> Iterator[bytes]:
        """Yield the lines that were appended since. Touches the disk; a file may come later."""
        for _ in range(_CHUNKS_A_LOOK):
            data = self._read()
            if not data:
                return
            yield from self._lines.feed(data)

    def _read(self) -> bytes:
        try:
            if self._fd < 0:
                self._fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
            return os.read(self._fd, _CHUNK)
        except OSError:
            return b""

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
