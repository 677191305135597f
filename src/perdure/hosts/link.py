"""A call to a host, over the connection that a process of this machine keeps warm.

`perdure.hosts.link_keeper` is that process: one for each host, user and version, started by the
first call, gone ten minutes after the last one. It serves a unix socket that only this user opens.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from perdure import errors
from perdure.errors import HostUnreachable, PerdureError, TimeoutExpired
from perdure.hosts.side import modules
from perdure.hosts.side.frames import pack, read_frame, unpack
from perdure.hosts.ssh_folder import control_folder

if TYPE_CHECKING:
    from perdure.hosts import local
    from perdure.hosts.ssh import Ssh

_START_S = 60.0
_POLL_S = 0.01


def ask(
    host: Ssh,
    function: Callable[..., Any],
    arguments: Sequence[object],
    named: Mapping[str, object],
    timeout_s: float,
    on_line: local.LineCallback | None = None,
) -> Any:  # noqa: ANN401 - whatever the function returns
    """Return what a function returns there.

    Raises:
        HostUnreachable: the host does not answer, or the connection was lost meanwhile.
        NoPython: there is no Python there that could do it.
        TimeoutExpired: there is no answer in time.
        Others: as the function.
    """
    asked = {
        "number": 1,
        "function": f"{function.__module__}:{function.__qualname__}",
        "arguments": list(arguments),
        "named": dict(named),
        "tells": on_line is not None,
    }
    with _connected(host, timeout_s) as stream:
        return _exchange(stream, asked, host, timeout_s, on_line)


def _exchange(
    stream: BinaryIO,
    asked: Mapping[str, object],
    host: Ssh,
    timeout_s: float,
    on_line: local.LineCallback | None,
) -> Any:  # noqa: ANN401 - whatever the function returns
    with _losing(host, timeout_s):
        stream.write(pack(asked))
        stream.flush()
    while True:
        with _losing(host, timeout_s):
            frame = read_frame(stream)
        if frame is None:
            raise _lost(host)
        answer = unpack(*frame)
        if "value" in answer:
            return answer["value"]
        if "line" not in answer:
            raise _error_of(answer, host)
        if on_line is not None:
            on_line(answer["line"])


@contextlib.contextmanager
def _losing(host: Ssh, timeout_s: float) -> Iterator[None]:
    """Turn the errors of the connection, and only those, into ours."""
    try:
        yield
    except TimeoutError as error:
        raise TimeoutExpired(f"`{host.name}` did not answer within {timeout_s:g} s") from error
    except (OSError, EOFError) as error:
        raise _lost(host) from error


def _error_of(answer: Mapping[str, Any], host: Ssh) -> Exception:
    if "error" in answer:
        return revived(answer["error"])
    if "failed" in answer:
        number, words, name = answer["failed"]
        return OSError(number, words, name or None)
    if "lost" in answer:
        return _lost(host)
    return PerdureError(f"perdure failed on `{host.name}`", hint=str(answer.get("crashed")))


def revived(described: Mapping[str, Any]) -> PerdureError:
    """Return the error that was raised elsewhere."""
    kind = getattr(errors, described["kind"], PerdureError)
    known = {"program": described["program"]} if "program" in described else {}
    return cast(PerdureError, kind(described["message"], hint=described["hint"], **known))


def _lost(host: Ssh) -> HostUnreachable:
    return HostUnreachable(f"the connection to `{host.name}` was lost", hint="try again")


@contextlib.contextmanager
def _connected(host: Ssh, timeout_s: float) -> Iterator[BinaryIO]:
    with _socket_of(host) as connection:
        connection.settimeout(timeout_s)
        with connection.makefile("rwb") as stream:
            yield cast(BinaryIO, stream)


def _socket_of(host: Ssh) -> socket.socket:
    path = socket_path(host)
    found = _open(path)
    if found is not None:
        return found
    with _alone(path):
        return _open(path) or _start(host, path)


def socket_path(host: Ssh) -> Path:
    """Return where the link to a host is served: other sources or another user, another link."""
    known = json.dumps([host.destination, modules.digest(), sys.executable])
    return control_folder() / f"{hashlib.sha256(known.encode()).hexdigest()[:16]}.l"


def _open(path: Path) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(os.fspath(path))
    except OSError:
        connection.close()
        return None
    return connection


def _start(host: Ssh, path: Path) -> socket.socket:
    """Return a connection to a link that is started now. Starts a process."""
    from perdure.hosts import local

    host.connect()
    log = path.with_suffix(".log")
    log.unlink(missing_ok=True)
    words = (sys.executable, "-m", "perdure.hosts.link_keeper", host.name, host.destination)
    pid = local.spawn_detached((*words, os.fspath(path)), log=log)
    deadline = time.monotonic() + _START_S
    while (found := _open(path)) is None:
        if local.exit_code_of(pid) is not None:
            raise _why(log, host)
        if time.monotonic() > deadline:
            local.kill_group(pid)
            raise HostUnreachable(f"no connection to `{host.name}` within {_START_S:g} s")
        time.sleep(_POLL_S)
    return found


def _why(log: Path, host: Ssh) -> PerdureError:
    """Return why a link ended before it served: its last line says so."""
    try:
        lines = log.read_text(errors="replace").splitlines()
        return revived(json.loads(lines[-1]))
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return _lost(host)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process at a time start a link."""
    fd = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
