"""A server that speaks AWS, on loopback: moto's, and the variables that lead to it."""

from __future__ import annotations

import contextlib
import logging
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

KEYS = {"AWS_ACCESS_KEY_ID": "a-key", "AWS_SECRET_ACCESS_KEY": "a-secret"}


@contextlib.contextmanager
def serve() -> Iterator[str]:
    """Yield the server's address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def lead(server: str, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Have this process's variables lead to the server, with nothing in it any more."""
    for name in [*os.environ]:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    urllib.request.urlopen(f"{server}/moto-api/reset", data=b"", timeout=120).close()
