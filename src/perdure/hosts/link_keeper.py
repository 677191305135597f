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
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perdure.errors import NoPython, PerdureError
from perdure.hosts import within
from perdure.hosts.link_caller import Caller
from perdure.hosts.pod import Pod
from perdure.hosts.reaching import reached
from perdure.hosts.side.channel import Channel, boot_words, search_words
from perdure.hosts.side.frames import joined, pack, read_frame
from perdure.hosts.ssh import Ssh
from perdure.hosts.ssh_failure import failure

IDLE_S = 600.0
# How often the other end is asked for a sign of life, how long it may owe one (it may be busy with
# what was sent before), and after what silence of ours it ends by itself.
PING_S = 60.0
SILENT_S = 180.0
ALONE_S = 900.0
# ssh sees for itself that its host is gone; an API server that a node's end is kept from does not.
POD_PING_S, POD_SILENT_S = 5.0, 15.0
_LOOK_S = 1.0
# What a folder of sockets keeps of versions, and of connections, that are gone.
_OLD_S = 86_400.0


class Keeper:
    """A connection to a host, shared by the processes that call it."""

    def __init__(
        self, channel: Channel, *, ping_s: float | None = None, silent_s: float | None = None
    ) -> None:
        self._channel = channel
        self._ping_s, self._silent_s = ping_s, silent_s
        self._sending = threading.Lock()
        self._numbers = itertools.count(1)
        self._callers: dict[int, tuple[Caller, Any]] = {}
        self._used = self._heard = self._pinged = time.monotonic()
        self.lost = False
        self.when_lost: Callable[[], None] = lambda: None

    def idle_s(self) -> float:
        """Return for how long nobody has called, 0.0 while somebody waits for an answer."""
        return 0.0 if self._callers else time.monotonic() - self._used

    def serve(self, caller: Caller) -> None:
        """Pass on the calls of one process until it goes; what it then waits for is stopped."""
        try:
            while (frame := read_frame(caller.stream)) is not None:
                self._pass_on(caller, *frame)
        except (OSError, EOFError, ValueError, KeyError, TypeError):
            pass
        finally:
            caller.close()
            self._forget(caller)

    def pass_back(self) -> None:
        """Pass on the answers until the connection is lost; then tell everybody who waits."""
        try:
            while (frame := self._channel.receive()) is not None:
                self._heard = time.monotonic()
                self._answer(*frame)
        except (ValueError, KeyError, TypeError, RecursionError):
            # The other end is not what it should be: nothing more of it is heard.
            pass
        finally:
            self.lost = True
            self.when_lost()
            self._channel.end()
            for caller, theirs in tuple(self._callers.values()):
                caller.give(pack({"number": theirs, "lost": True}))

    def ping(self) -> None:
        """Ask the other end for a sign of life if it is time to; end it if it owes one for long."""
        now = time.monotonic()
        if now - self._pinged < (self._ping_s or PING_S):
            return
        if self._heard < self._pinged - (self._silent_s or SILENT_S):
            self._channel.end()
            return
        self._pinged = now
        with contextlib.suppress(OSError):
            self._send(pack({"ping": ALONE_S}))

    def _pass_on(self, caller: Caller, header: bytes, blob: bytes) -> None:
        asked: dict[str, Any] = json.loads(header)
        theirs, number = asked["number"], next(self._numbers)
        frame = _joined({**asked, "number": number}, blob)
        if self.lost:
            caller.give(pack({"number": theirs, "unsent": True}))
            return
        # From here on nobody may call once more because the connection is gone.
        caller.give(pack({"number": theirs, "taken": True}))
        self._callers[number] = (caller, theirs)
        try:
            self._send(frame)
        except OSError:
            self._callers.pop(number, None)
            caller.give(pack({"number": theirs, "unsent": True}))
            return
        # The one who tells everybody may have been there just before.
        if self._ended() and self._callers.pop(number, None) is not None:
            caller.give(pack({"number": theirs, "lost": True}))

    def _answer(self, header: bytes, blob: bytes) -> None:
        answer: dict[str, Any] = json.loads(header)
        number = answer["number"]
        caller, theirs = self._callers.get(number, (None, 0))
        if "line" not in answer and not answer.get("left"):
            self._callers.pop(number, None)
            self._used = time.monotonic()
        if caller is not None:
            caller.give(_joined({**answer, "number": theirs}, blob))

    def _forget(self, caller: Caller) -> None:
        for number, (each, _) in tuple(self._callers.items()):
            if each is caller and self._callers.pop(number, None) is not None:
                with contextlib.suppress(OSError):
                    self._send(pack({"stop": number}))

    def _ended(self) -> bool:
        return self.lost

    def _send(self, frame: bytes) -> None:
        with self._sending:
            self._channel.send(frame)


def _joined(header: dict[str, Any], blob: bytes) -> bytes:
    """Return a frame whose blob stays as it came."""
    packed = json.dumps(header, separators=(",", ":")).encode()
    return joined(packed, blob)


def open_channel(host: Ssh | Pod) -> Channel:
    """Return a side on the host, in a Python of its own, or else in one of an image's.

    Starts a process, and notes for others by what Python it is run.

    Raises:
        HostUnreachable: the host does not answer.
        NoPython: it has no Python for it, whatever its name, and no image with one.
    """
    if isinstance(host, Pod):
        return Channel(host.command(boot_words()), lambda _, said: host.lost(said))

    def explain(_code: int, said: str) -> PerdureError:
        return failure(host.name, host.destination, said)

    python, *rest = boot_words()
    words: tuple[str, ...] = (python,)
    try:
        channel = Channel(host.command((*words, *rest)), explain)
    except NoPython:
        try:
            words = search_words()[: -len(rest)]
            channel = Channel(host.command((*words, *rest)), explain)
        except NoPython:
            words = within.find_words(host)
            channel = Channel(host.command((*words, *rest)), explain)
    within.remember(host, words)
    return channel


def main() -> int:
    """Serve until nobody has called for ten minutes, or the connection is lost."""
    name, destination, path = sys.argv[1:]
    os.chdir("/")
    try:
        host = reached(name, destination)
        channel = open_channel(host)
    except PerdureError as error:
        described = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
        # Its log, which the caller reads.
        sys.stdout.write(json.dumps(described) + "\n")
        sys.stdout.flush()
        return 1
    try:
        within = (POD_PING_S, POD_SILENT_S) if isinstance(host, Pod) else (None, None)
        _serve(Path(path), Keeper(channel, ping_s=within[0], silent_s=within[1]))
        _tidy(Path(path).parent)
    finally:
        channel.end()
        # Threads that wait for callers, or for a network that is gone, are not waited for.
        os._exit(0)


def _serve(path: Path, keeper: Keeper) -> None:
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listening:
        before = os.umask(0o177)
        listening.bind(os.fspath(path))
        os.umask(before)
        listening.listen(128)
        listening.settimeout(_LOOK_S)
        door = _Door(path)
        # At once: who is told that it was lost may call again, and not find this one.
        keeper.when_lost = door.close
        threading.Thread(target=keeper.pass_back, daemon=True).start()
        while not keeper.lost and door.is_mine() and keeper.idle_s() < IDLE_S:
            _accept(listening, keeper)
            keeper.ping()
        door.close()
    # Somebody else serves by now, or nobody should: those who are in are let finish.
    while not keeper.lost and not keeper.idle_s():
        keeper.ping()
        time.sleep(_LOOK_S)


def _accept(listening: socket.socket, keeper: Keeper) -> None:
    with contextlib.suppress(OSError):
        connection, _ = listening.accept()
        connection.settimeout(None)
        threading.Thread(target=keeper.serve, args=(Caller(connection),), daemon=True).start()


class _Door:
    """The path of a socket, while it is this process's."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mine = self._seen()

    def is_mine(self) -> bool:
        """Return whether who comes to the path comes here."""
        return self._seen() == self._mine

    def close(self) -> None:
        """Remove it, unless it is another's by now."""
        if self.is_mine():
            self._path.unlink(missing_ok=True)

    def _seen(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        # A number is soon given to another file: the time tells them apart.
        return found.st_ino, found.st_ctime_ns


def _tidy(folder: Path) -> None:
    """Remove what links of other versions left behind."""
    for path in folder.glob("*"):
        with contextlib.suppress(OSError):
            is_old = time.time() - path.stat().st_mtime > _OLD_S
            if is_old and path.suffix in (".lock", ".log", ".port"):
                path.unlink()


if __name__ == "__main__":
    sys.exit(main())
