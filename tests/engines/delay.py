"""A network that is far away: bytes between here and an address take so many milliseconds more.

As ssh's ProxyCommand: `delay.py --ms 10 HOST PORT` (a round trip of 20 ms). With `--listen PORT` it
relays every connection to that port of the loopback. Only the standard library: hosts run it too.
"""

from __future__ import annotations

import argparse
import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable

CHUNK = 256 * 1024
#: What is on its way in one direction; more waits with the sender, as in a real network.
ON_THE_WAY = 256


class Wire:
    """One direction of a connection: what goes in comes out `delay_s` later, in order."""

    def __init__(
        self, read: Callable[[], bytes], write: Callable[[bytes], None], delay_s: float
    ) -> None:
        self._read, self._write, self._delay_s = read, write, delay_s
        self._sent: queue.Queue[tuple[float, bytes]] = queue.Queue(ON_THE_WAY)
        threading.Thread(target=self._take, daemon=True).start()
        self._giving = threading.Thread(target=self._give, daemon=True)
        self._giving.start()

    def wait(self) -> None:
        """Return when the sender has ended, and all of it has arrived."""
        self._giving.join()

    def _take(self) -> None:
        piece = b"-"
        while piece:
            try:
                piece = self._read()
            except OSError:
                piece = b""
            self._sent.put((time.monotonic() + self._delay_s, piece))

    def _give(self) -> None:
        while True:
            due, piece = self._sent.get()
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                self._write(piece)
            except OSError:
                return
            if not piece:
                return


def reading(connection: socket.socket) -> Callable[[], bytes]:
    """Return what reads from a connection."""
    return lambda: connection.recv(CHUNK)


def writing(connection: socket.socket) -> Callable[[bytes], None]:
    """Return what writes to a connection; nothing to write is its end."""
    return lambda piece: connection.sendall(piece) if piece else connection.shutdown(socket.SHUT_WR)


def connect(address: tuple[str, int], delay_s: float) -> socket.socket:
    """Return a connection; making it takes a round trip, too."""
    connection = socket.create_connection(address, timeout=120)
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    time.sleep(2 * delay_s)
    return connection


def through_pipes(address: tuple[str, int], delay_s: float) -> None:
    """Relay between standard input and output, and an address; return when the far side ends."""
    far = connect(address, delay_s)

    def put(piece: bytes) -> None:
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(1, rest) :]

    Wire(lambda: os.read(0, CHUNK), writing(far), delay_s)
    Wire(reading(far), put, delay_s).wait()


def serve(port: int, address: tuple[str, int], delay_s: float) -> None:
    """Relay what connects to a port of the loopback, without end."""
    with socket.create_server(("127.0.0.1", port)) as listening:
        while True:
            near, _ = listening.accept()
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_relay, args=(near, address, delay_s), daemon=True).start()


def _relay(near: socket.socket, address: tuple[str, int], delay_s: float) -> None:
    with near, connect(address, delay_s) as far:
        there = Wire(reading(near), writing(far), delay_s)
        Wire(reading(far), writing(near), delay_s).wait()
        there.wait()


def main() -> None:
    """Run as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ms", type=float, required=True, help="milliseconds each way")
    parser.add_argument("--listen", type=int, help="a port of the loopback, instead of pipes")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    words = parser.parse_args()
    address, delay_s = (words.host, words.port), words.ms / 1000
    if words.listen is None:
        through_pipes(address, delay_s)
    else:
        serve(words.listen, address, delay_s)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)
