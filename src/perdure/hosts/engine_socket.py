"""An engine's own HTTP over its unix socket: a question takes a millisecond, a client process 30.

The request is HTTP/1.0, which the server answers whole and then hangs up: reading to the end is all
there is to it. `http.client` would cost 22 ms to import, more than all else that is done here.
Source: the Docker Engine API; https://docs.docker.com/reference/api/engine/; RFC 1945.
"""

from __future__ import annotations

import json
import re
import socket
from typing import TYPE_CHECKING, cast

from perdure.errors import EngineUnreachable, PerdureError, TimeoutExpired

if TYPE_CHECKING:
    from perdure.hosts.engine_facts import Document

TIMEOUT_S = 20.0
# A whole command: the verb that failed may have no `--on`.
LOCAL = "go without containers: `perdure run --on local`"
_OK = 200
_NOT_FOUND = 404
_BLOCK = 1 << 16
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})\b")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def reach(path: str, *, timeout_s: float = TIMEOUT_S) -> None:
    """Return if something accepts connections on the socket.

    Raises:
        EngineUnreachable: nothing does, or not from this user.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        _connect(connection, path, timeout_s)


def ask(path: str, question: str, *, timeout_s: float = TIMEOUT_S) -> Document | None:
    """Return what the engine answers to `GET question`, None where it knows no such thing.

    Raises:
        EngineUnreachable: it cannot be reached, or goes away in mid-answer.
        TimeoutExpired: it does not answer in time.
        PerdureError: it refuses.
    """
    try:
        status, body = _exchange(path, question, timeout_s)
    except TimeoutError as error:
        raise _slow(path, timeout_s) from error
    except OSError as error:
        raise EngineUnreachable(
            f"the container engine at `unix://{path}` went away while it was asked", hint=LOCAL
        ) from error
    return None if status == _NOT_FOUND else _decoded(question, status, body)


def _exchange(path: str, question: str, timeout_s: float) -> tuple[int, bytes]:
    """Return the status and the body of an answer; an answer that breaks off is an OSError."""
    answer = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        _connect(connection, path, timeout_s)
        connection.sendall(f"GET {question} HTTP/1.0\r\nHost: engine\r\n\r\n".encode())
        while block := connection.recv(_BLOCK):
            answer += block
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    status, length = _STATUS.match(head), _LENGTH.search(head)
    if status is None or (length and len(body) < int(length[1])):
        raise ConnectionResetError
    return int(status[1]), body


def _decoded(question: str, status: int, body: bytes) -> Document:
    try:
        document = json.loads(body)
    except ValueError:
        document = body.decode("utf-8", "replace").strip()
    if status != _OK or not isinstance(document, dict):
        said = document.get("message", "") if isinstance(document, dict) else document
        raise PerdureError(f"the container engine refused `GET {question}` ({status}): {said}")
    return cast("Document", document)


def _connect(connection: socket.socket, path: str, timeout_s: float) -> None:
    connection.settimeout(timeout_s)
    try:
        connection.connect(path)
    except PermissionError as error:
        raise no_permission(f"unix://{path}") from error
    except TimeoutError as error:
        raise _slow(path, timeout_s) from error
    except OSError as error:
        raise no_answer(f"unix://{path}", (error.strerror or str(error)).lower()) from error


def no_permission(endpoint: str) -> EngineUnreachable:
    """Return the error of an engine that is there, for others."""
    return EngineUnreachable(
        f"no permission to use the container engine at `{endpoint}`",
        hint="join the group `docker` (`sudo usermod -aG docker $USER`) and log in again, "
        f"or {LOCAL}",
    )


def no_answer(endpoint: str, said: str, *, hint: str | None = None) -> EngineUnreachable:
    """Return the error of an engine that does not run; without a hint, as one of this machine."""
    return EngineUnreachable(
        f"no container engine answers at `{endpoint}`: {said}",
        hint=hint or f"start it (`sudo systemctl start docker`, or Docker Desktop), or {LOCAL}",
    )


def _slow(path: str, timeout_s: float) -> TimeoutExpired:
    return TimeoutExpired(
        f"the container engine at `unix://{path}` did not answer within {timeout_s:g} s", hint=LOCAL
    )
