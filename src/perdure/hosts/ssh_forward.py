"""Ports and sockets of a host, reached from here over the connection that is kept to it.

ssh's master holds them. It forgets them when it ends, and takes one that it was asked for before as
done even where its socket file is gone: so each use looks, and asks again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.errors import HostUnreachable
from perdure.hosts import local
from perdure.hosts.ssh_failure import failure
from perdure.hosts.ssh_folder import control_folder

if TYPE_CHECKING:
    from perdure.hosts.ssh import Ssh

_ASK_S = 20.0
_TRIES = 20


def forwarded_port(host: Ssh, port: int) -> int:
    """Return a port of this machine's loopback that reaches one of the host's: the same as before.

    Raises:
        HostUnreachable: the host does not answer.
    """
    note = _own_path(host, str(port)).with_suffix(".port")
    with _alone(note):
        host.connect()
        mine = _noted(note) or _free_port()
        said = ""
        for _ in range(_TRIES):
            # The same one again is none to ssh; if somebody else has it by now, it says so.
            said = _ask(host, "forward", f"127.0.0.1:{mine}:127.0.0.1:{port}")
            if not said:
                note.write_text(str(mine))
                return mine
            mine = _free_port()
    raise failure(host.name, host.destination, said)


def forwarded_socket(host: Ssh, path: str) -> Path:
    """Return a unix socket of this machine that reaches one of the host.

    Raises:
        HostUnreachable: the host does not answer.
    """
    mine = _own_path(host, path)
    if _answers(mine):
        return mine
    with _alone(mine):
        if _answers(mine):
            return mine
        mine.unlink(missing_ok=True)
        host.connect()
        rule = f"{_escaped(str(mine))}:{_escaped(path)}"
        said = _ask(host, "forward", rule)
        if not said and not mine.exists():
            # ssh believes that it has it: somebody removed the file.
            _ask(host, "cancel", rule)
            said = _ask(host, "forward", rule)
        if said:
            raise failure(host.name, host.destination, said)
    return mine


def _ask(host: Ssh, verb: str, rule: str) -> str:
    """Return "" once the master has done it, else what it says."""
    # Without the user's configuration: its own forwards would be asked for again with ours.
    words = ("ssh", "-F", "/dev/null", "-o", f"ControlPath={_escaped_path(host)}", "-O", verb)
    done = local.run((*words, "-L", rule, "--", host.destination), timeout_s=_ASK_S)
    return "" if done.returncode == 0 else done.complaint or f"ssh -O {verb} failed"


def _escaped_path(host: Ssh) -> str:
    """Return the path of the master's socket, as an option of ssh's."""
    words = ("ssh", *host.options(), "-G", "--", host.destination)
    done = local.run(words, timeout_s=_ASK_S)
    for line in done.stdout.decode("utf-8", "surrogateescape").splitlines():
        if line.startswith("controlpath "):
            path = line.partition(" ")[2].replace("%", "%%")
            return f'"{path}"'
    raise HostUnreachable(f"ssh does not take its configuration of `{host.name}`")


def _escaped(path: str) -> str:
    """Return a path as a part of a rule, where a colon parts and a percent sign stands for more."""
    return path.replace("\\", "\\\\").replace(":", "\\:").replace("%", "%%")


def _own_path(host: Ssh, what: str) -> Path:
    name = hashlib.sha256(f"{host.destination}\0{what}".encode()).hexdigest()[:16]
    return control_folder() / f"{name}.s"


def _noted(note: Path) -> int:
    try:
        return int(note.read_text())
    except (OSError, ValueError):
        return 0


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as there:
        there.settimeout(_ASK_S)
        try:
            there.connect(os.fspath(path))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process at a time ask for a forward: another would remove what this one made."""
    fd = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
