"""A socket that leads to a server's own: to cut the line, or to reach it as one elsewhere."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path


class Relay:
    """Passes on what comes in at a listening socket to a server's, until it is cut.

    `far` is that one's path, or its host and port.
    """

    def __init__(self, server: socket.socket, far: str | tuple[str, int]) -> None:
        self._far = far
        self._open: list[socket.socket] = []
        self._server = server
        self._server.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close everything."""
        for each in [self._server, *self._open]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = self._connect()
                self._open += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=pair, daemon=True).start()

    def _connect(self) -> socket.socket:
        family = socket.AF_UNIX if isinstance(self._far, str) else socket.AF_INET
        far = socket.socket(family, socket.SOCK_STREAM)
        far.connect(self._far)
        return far

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        # A line that broke on one side is no line on the other.
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def unix_relay(path: Path, far: str | tuple[str, int]) -> Relay:
    """Return a relay that listens at a path."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    return Relay(server, far)


def tcp_relay(engine: str) -> tuple[Relay, str]:
    """Return a relay that listens on loopback, and its address as DOCKER_HOST has it."""
    server = socket.create_server(("127.0.0.1", 0))
    return Relay(server, engine), f"tcp://127.0.0.1:{server.getsockname()[1]}"
