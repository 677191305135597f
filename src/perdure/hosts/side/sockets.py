"""Which container engine a host has: its unix socket, found where its client would look.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

_UNIX = "unix://"
_PLACES = ("/var/run/docker.sock", "/run/docker.sock")
_OWN = ("docker.sock", "podman/podman.sock")
_ASK_S = 5.0


def find_socket() -> dict[str, Any]:
    """Return `path` of a socket that an engine answers on, or `problem` and the path it is with.

    Neither: there is no socket. `user` and `group` are the ids of whoever asks.
    """
    found: dict[str, Any] = {
        "path": None,
        "problem": None,
        "user": os.getuid(),
        "group": os.getgid(),
    }
    for path in _candidates():
        problem = _problem(path)
        if problem is None:
            return {**found, "path": path, "problem": None}
        if problem != errno.ENOENT and found["problem"] is None:
            found |= {"path": path, "problem": os.strerror(problem).lower()}
    return found


def _candidates() -> list[str]:
    places = []
    named = os.environ.get("DOCKER_HOST", "")
    if named.startswith(_UNIX):
        places.append(named[len(_UNIX) :])
    places += _PLACES
    # Rootless engines have theirs among the user's own.
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    places += [f"{runtime}/{name}" for name in _OWN]
    return list(dict.fromkeys([*places, "/run/podman/podman.sock"]))


def _problem(path: str) -> int | None:
    """Return why nothing answers there, None if something does."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ASK_S)
        try:
            connection.connect(path)
        except OSError as error:
            return error.errno or errno.ETIMEDOUT
    return None
