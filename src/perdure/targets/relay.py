"""A port of this machine's loopback that leads to a port of a container."""

from __future__ import annotations

import contextlib
import socket
import threading

_CONNECT_S = 20.0
_BLOCK = 1 << 16


def relay(address: str, port: int) -> int:
    """Return a port on which this process passes connections on to `address`, while it lives.

    Listens on the loopback only. The container need not have published anything.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(
        target=_serve, args=(listener, (address, port)), name=f"relay-{port}", daemon=True
    ).start()
    return int(listener.getsockname()[1])


def _serve(listener: socket.socket, there: tuple[str, int]) -> None:
    with listener:
        while True:
            here, _ = listener.accept()
            threading.Thread(target=_pass_on, args=(here, there), daemon=True).start()


def _pass_on(here: socket.socket, there: tuple[str, int]) -> None:
    with here:
        try:
            other = socket.create_connection(there, timeout=_CONNECT_S)
        except OSError:
            return  # nobody listens there: whoever connected sees the end of the connection
        with other:
            other.settimeout(None)
            back = threading.Thread(target=_copy, args=(other, here), daemon=True)
            back.start()
            _copy(here, other)
            back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_BLOCK):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
