"""A session's own socket: whoever may use it asks one line of JSON and is answered with one."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perdure.errors import TimeoutExpired

_LONGEST_BYTES = 1 << 16
_ASK_S = 1.0

Answer = Callable[[dict[str, Any]], None]


class Control:
    """Listens on a unix socket that only this user opens (0600, in a private folder)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)
        try:
            self._socket.bind(os.fspath(path))
        finally:
            os.umask(before)
        self._socket.listen(16)

    def fileno(self) -> int:
        """Return the descriptor that is readable when somebody asks."""
        return self._socket.fileno()

    def accept(self) -> tuple[dict[str, Any], Answer] | None:
        """Return what is asked and how it is answered, None if nothing sensible is."""
        connection, _ = self._socket.accept()
        connection.settimeout(_ASK_S)
        try:
            asked = json.loads(_line(connection))
        except (OSError, ValueError):
            connection.close()
            return None

        def answer(value: dict[str, Any]) -> None:
            with connection, contextlib.suppress(OSError):
                connection.sendall(json.dumps(value).encode() + b"\n")

        return (asked, answer) if isinstance(asked, dict) else None

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()
        self.path.unlink(missing_ok=True)


def ask(path: Path, question: dict[str, Any], timeout_s: float) -> dict[str, Any] | None:
    """Return the answer of the session that listens there, None if none does.

    Raises:
        TimeoutExpired: one does, and is busy.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(os.fspath(path))
            connection.sendall(json.dumps(question).encode() + b"\n")
            found = json.loads(_line(connection))
        except TimeoutError as error:
            raise TimeoutExpired(
                f"the sync in the background did not answer within {timeout_s:g} s",
                hint="it may be busy: try again",
            ) from error
        except (OSError, ValueError):
            return None
    return found if isinstance(found, dict) else None


def is_served(path: Path) -> bool:
    """Return whether a session listens there."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(os.fspath(path))
        except OSError:
            return False
    return True


def _line(connection: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        piece = connection.recv(_LONGEST_BYTES)
        if not piece:
            break
        data += piece
    return data
