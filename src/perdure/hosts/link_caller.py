"""One process that calls a host through the link, as the link's process sees it.

What it does not read at once is kept for it, within bounds: one that is stopped, or shows its
output in a pager, keeps nobody else waiting.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from typing import BinaryIO, cast

# What is kept for one process, and for how long it then may read nothing.
MOST_BYTES = 32 << 20
PATIENCE_S = 10.0


class Caller:
    """A process that calls, and what it has not read yet."""

    def __init__(
        self, connection: socket.socket, *, most: int = MOST_BYTES, patience_s: float = PATIENCE_S
    ) -> None:
        self._connection = connection
        self.stream = cast(BinaryIO, connection.makefile("rb"))
        self._most, self._patience_s = most, patience_s
        self._room = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._kept = 0
        self._writing = False
        self._gone = False

    def give(self, frame: bytes) -> None:
        """Send an answer, now or as it is read; one who has gone does not want it any more."""
        with self._room:
            if not self._room.wait_for(self._has_room, self._patience_s):
                self._leave()
            if self._gone:
                return
            left = frame if self._writing else frame[self._send_now(frame) :]
            if left and not self._gone:
                self._keep(left)

    def close(self) -> None:
        """Let go of the connection."""
        with self._room:
            self._leave()
        with contextlib.suppress(OSError):
            self.stream.close()
            self._connection.close()

    def _has_room(self) -> bool:
        return self._gone or self._kept < self._most

    def _send_now(self, frame: bytes) -> int:
        """Return how much of it the connection took without waiting."""
        try:
            return self._connection.send(frame, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError:
            self._leave()
            return 0

    def _keep(self, left: bytes) -> None:
        self._waiting.append(left)
        self._kept += len(left)
        if not self._writing:
            self._writing = True
            threading.Thread(target=self._write, daemon=True).start()

    def _write(self) -> None:
        """Send what is kept, until there is no more."""
        while True:
            with self._room:
                if self._gone or not self._waiting:
                    self._writing = False
                    return
                piece = self._waiting.popleft()
            try:
                self._connection.sendall(piece)
            except OSError:
                with self._room:
                    self._leave()
            with self._room:
                self._kept -= len(piece)
                self._room.notify_all()

    def _leave(self) -> None:
        """Forget it: whoever reads from it, or writes to it, comes to the end."""
        self._gone = True
        self._waiting.clear()
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._room.notify_all()
