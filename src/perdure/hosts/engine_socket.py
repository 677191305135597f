"""An engine's own HTTP over its unix socket: a question takes a millisecond, a client process 30.

Source: the Docker Engine API; https://docs.docker.com/reference/api/engine/
"""

from __future__ import annotations

import http.client
import json
import socket
from typing import cast

from perdure.errors import EngineUnreachable, PerdureError, TimeoutExpired
from perdure.hosts.engine_facts import Document

TIMEOUT_S = 20.0
LOCAL = "go without containers: `--on local`"
_NOT_FOUND = 404


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
    connection = _Connection(path, timeout_s)
    try:
        connection.request("GET", question)
        answer = connection.getresponse()
        body = answer.read()
    except TimeoutError as error:
        raise _slow(path, timeout_s) from error
    except (OSError, http.client.HTTPException) as error:
        raise EngineUnreachable(
            f"the container engine at `unix://{path}` went away while it was asked", hint=LOCAL
        ) from error
    finally:
        connection.close()
    if answer.status == _NOT_FOUND:
        return None
    return _decoded(question, answer.status, body)


def _decoded(question: str, status: int, body: bytes) -> Document:
    try:
        document = json.loads(body)
    except ValueError:
        document = body.decode("utf-8", "replace").strip()
    if status != http.client.OK or not isinstance(document, dict):
        said = document.get("message", "") if isinstance(document, dict) else document
        raise PerdureError(f"the container engine refused `GET {question}` ({status}): {said}")
    return cast("Document", document)


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("engine", timeout=timeout_s)
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _connect(connection, self._path, self._timeout_s)
        except BaseException:
            connection.close()
            raise
        self.sock = connection


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


def no_answer(endpoint: str, said: str) -> EngineUnreachable:
    """Return the error of an engine that does not run."""
    return EngineUnreachable(
        f"no container engine answers at `{endpoint}`: {said}",
        hint=f"start it (`sudo systemctl start docker`, or Docker Desktop), or {LOCAL}",
    )


def _slow(path: str, timeout_s: float) -> TimeoutExpired:
    return TimeoutExpired(
        f"the container engine at `unix://{path}` did not answer within {timeout_s:g} s", hint=LOCAL
    )
