"""Ports of loopback for servers of the tests that have to be told one."""

from __future__ import annotations

import socket


def free_port() -> int:
    """Return a port that nobody has just now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port
