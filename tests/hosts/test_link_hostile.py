"""What a host that means harm may answer."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.errors import PerdureError
from perdure.hosts import link, question
from perdure.hosts.side.frames import pack
from perdure.hosts.ssh import Ssh
from tests.engines.hosts import Hosts


@contextlib.contextmanager
def hostile(path: Path, answer: bytes) -> Iterator[None]:
    """Serve a link that answers what a host that means harm would."""

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(pack({"number": 1, "taken": True}) + answer)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(path))
        listening.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


def framed(text: str, blob: bytes = b"") -> bytes:
    return len(text).to_bytes(4, "big") + len(blob).to_bytes(4, "big") + text.encode() + blob


@pytest.mark.parametrize(
    "answer",
    [
        framed('{"error": {"kind": "__class__", "message": "m", "hint": null}}'),
        framed('{"error": {"kind": "annotations", "message": [1], "hint": 3}}'),
        framed('{"error": {"kind": "MissingProgram", "message": "m"}}'),
        framed('{"error": {"kind": ["a"]}}'),
        framed('{"error": 7}'),
        framed('{"failed": [1]}'),
        framed('{"failed": 3}'),
        framed('{"value": {"$bytes": 1000000}}'),
        framed('{"value": {"$bytes": -5}}', b"abcdef"),
        framed('{"piece": {"$bytes": 3}, "left": -1}', b"abc"),
        framed('{"piece": 1, "left": 99999999999999}'),
        framed('{"piece": {"$bytes": 3}, "left": 99999999999999}', b"abc"),
        framed("[" * 100_000),
        framed("[1]"),
        framed("7"),
        framed("{"),
        b"\xff" * 64,
        b"\x00",
        b"",
    ],
)
def test_words_of_a_hostile_host_make_errors_of_ours_only(hosts_here: Hosts, answer: bytes) -> None:
    host = Ssh("gpu1", "gpu1")
    refused = pytest.raises((PerdureError, OSError))
    with hostile(link.socket_path(host), answer), refused as told:
        host.call(question.answer)
    assert type(told.value).__module__ in ("perdure.errors", "builtins")
    assert str(told.value)
