"""A socket that leads to an engine's own: to cut the line, or to reach it as one elsewhere."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path


class Relay:
    """Passes on what comes in at a listening socket to an engine's, until it is cut."""

    def __init__(self, server: socket.socket, engine: str) -> None:
        self._engine = engine
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
                far = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                far.connect(self._engine)
                self._open += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=pair, daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


def unix_relay(path: Path, engine: str) -> Relay:
    """Return a relay that listens at a path."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    return Relay(server, engine)


def tcp_relay(engine: str) -> tuple[Relay, str]:
    """Return a relay that listens on loopback, and its address as DOCKER_HOST has it."""
    server = socket.create_server(("127.0.0.1", 0))
    return Relay(server, engine), f"tcp://127.0.0.1:{server.getsockname()[1]}"
