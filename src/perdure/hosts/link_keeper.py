"""The process that keeps a connection to a host warm, and passes calls on: see `link`.

One thread for each process that calls, one for the answers. Started with the host's name, what ssh
is given, and the path of the socket to serve.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO, cast

from perdure.errors import PerdureError
from perdure.hosts.side.channel import Channel, boot_words
from perdure.hosts.side.frames import LENGTHS, pack, read_frame, unpack
from perdure.hosts.ssh import Ssh
from perdure.hosts.ssh_failure import failure

IDLE_S = 600.0
_LOOK_S = 1.0


class Keeper:
    """A connection to a host, shared by the processes that call it."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._callers: dict[int, tuple[_Caller, int]] = {}
        self._used = time.monotonic()

    def idle_s(self) -> float:
        """Return for how long nobody has called, 0.0 while somebody waits for an answer."""
        return 0.0 if self._callers else time.monotonic() - self._used

    def serve(self, caller: _Caller) -> None:
        """Pass on the calls of one process until it goes."""
        with contextlib.suppress(OSError, EOFError, ValueError):
            while (frame := read_frame(caller.stream)) is not None:
                asked = unpack(*frame)
                number = next(self._numbers)
                self._callers[number] = (caller, asked["number"])
                with self._lock:
                    self._channel.send(pack({**asked, "number": number}))
        caller.close()

    def pass_back(self) -> None:
        """Pass on the answers until the connection is lost; then tell everybody who waits."""
        while (frame := self._channel.receive()) is not None:
            header, blob = frame
            answer: dict[str, Any] = json.loads(header)
            number = answer["number"]
            caller, theirs = self._callers.get(number, (None, 0))
            if "line" not in answer:
                self._callers.pop(number, None)
                self._used = time.monotonic()
            if caller is not None:
                again = json.dumps({**answer, "number": theirs}).encode()
                caller.give(LENGTHS.pack(len(again), len(blob)) + again + blob)
        for caller, theirs in tuple(self._callers.values()):
            caller.give(pack({"number": theirs, "lost": True}))


class _Caller:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.stream = cast(BinaryIO, connection.makefile("rb"))
        self._lock = threading.Lock()

    def give(self, frame: bytes) -> None:
        """Send an answer; one who has gone does not want it any more."""
        with self._lock, contextlib.suppress(OSError):
            self._connection.sendall(frame)

    def close(self) -> None:
        """Let go of the connection."""
        with contextlib.suppress(OSError):
            self._connection.close()


def main() -> int:
    """Serve until nobody has called for ten minutes, or the connection is lost."""
    name, destination, path = sys.argv[1:]
    os.chdir("/")
    host = Ssh(name, destination)
    try:
        channel = Channel(
            host.command(boot_words()), lambda code, said: failure(name, destination, said)
        )
    except PerdureError as error:
        described = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
        # Its log, which the caller reads.
        sys.stdout.write(json.dumps(described) + "\n")
        sys.stdout.flush()
        return 1
    keeper = Keeper(channel)
    answers = threading.Thread(target=keeper.pass_back, daemon=True)
    answers.start()
    try:
        _serve(Path(path), keeper, answers)
    finally:
        channel.close()
    return 0


def _serve(path: Path, keeper: Keeper, answers: threading.Thread) -> None:
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listening:
        before = os.umask(0o177)
        listening.bind(os.fspath(path))
        os.umask(before)
        mine = path.stat().st_ino
        listening.listen(64)
        listening.settimeout(_LOOK_S)
        while answers.is_alive() and keeper.idle_s() < IDLE_S:
            with contextlib.suppress(TimeoutError):
                connection, _ = listening.accept()
                connection.settimeout(None)
                caller = _Caller(connection)
                threading.Thread(target=keeper.serve, args=(caller,), daemon=True).start()
        with contextlib.suppress(OSError):
            # Somebody may have made another link in the meantime.
            if path.stat().st_ino == mine:
                path.unlink()


if __name__ == "__main__":
    sys.exit(main())
