"""A visit to the machine that has a job: by ssh, with a key that is good for that visit alone.

Who the machine is, the bucket says: its host key is there before the first connection, and no other
one is taken. See `perdure.clouds.side.door`.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from perdure.clouds import view
from perdure.clouds.clock import Clock
from perdure.clouds.side import door
from perdure.clouds.side.bucket import Bucket
from perdure.clouds.side.door import Door, Visit
from perdure.clouds.side.order import read_order
from perdure.errors import (
    ConflictError,
    EnvironmentFailed,
    HostUnreachable,
    StorageError,
    UsageError,
)
from perdure.hosts import local

_LIMIT_S = 20.0
# A machine asks the bucket every two seconds.
ANSWER_S = 90.0
_LOOK_S = 0.5
_CONNECT_S = 10.0
# What the machine is called where its key is kept: addresses are lent to one after the other.
_ALIAS = "perdure-machine"


def visit(
    bucket: Bucket,
    target: str,
    job: str,
    argv: Sequence[str],
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Return the exit code of a command beside a job, with this terminal; () is a shell.

    Touches the network and the disk.

    Raises:
        ConflictError: no machine has the job.
        UsageError: it was submitted to machines that let nobody in.
        EnvironmentFailed: the machine cannot let us in; there is no ssh here.
        HostUnreachable: it does not answer.
        StorageError: this machine's disk takes nothing.
    """
    clock = Clock(bucket)
    order = read_order(bucket, job)
    if not view.is_held(bucket, job, clock):
        raise ConflictError(f"no machine has `{job}` just now", hint=f"perdure show {job}")
    if order is None or not order.door:
        raise UsageError(
            f"`{job}` was submitted before `ssh_from` was set: its machine lets nobody in",
            hint=f"perdure interrupt {job}; perdure resume {job}",
        )
    with _on_this_disk():
        made = tempfile.TemporaryDirectory(prefix="perdure-visit-")
    with made as name, _asked(bucket, job, _key(Path(name)), clock.now().timestamp()) as me:
        found = _answer(bucket, job, me, pause)
        _require_way(target, found)
        with _on_this_disk():
            words = command(Path(name), found, argv)
        return local.run_attached(words)


@contextlib.contextmanager
def _on_this_disk() -> Iterator[None]:
    """Tell of this machine's disk what would be taken for the bucket's doing."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"this machine does not take the files of a visit: {error}",
            hint="make room, or name another folder in TMPDIR",
        ) from error


def command(folder: Path, found: Door, argv: Sequence[str]) -> tuple[str, ...]:
    """Return ssh's command line, once what it reads is in a folder. Touches the disk.

    The user's own configuration is left out: it could give the key to an agent (`AddKeysToAgent`),
    take other host keys (`KnownHostsCommand`), or have a shell read what the machine says of itself
    (`%r` in a `ProxyCommand`).
    """
    known = folder / "known_hosts"
    known.write_text(f"{_ALIAS} {found.host_key}\n")
    chosen = {
        "IdentityFile": _path(folder / "key"),
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": _path(known),
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": _ALIAS,
        "StrictHostKeyChecking": "yes",
        "CheckHostIP": "no",
        "UpdateHostKeys": "no",
        "BatchMode": "yes",
        "ControlMaster": "no",
        "ControlPath": "none",
        "ForwardAgent": "no",
        "ClearAllForwardings": "yes",
        "RemoteCommand": "none",
        "ConnectTimeout": str(int(_LIMIT_S)),
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
        "LogLevel": "ERROR",
    }
    options = [word for name, value in chosen.items() for word in ("-o", f"{name}={value}")]
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    kind = "-t" if terminal else "-T"
    # No shell reads it there: the key has a command of its own, which takes it as JSON.
    words = [json.dumps(list(argv))] if argv else []
    where = ("-p", str(found.port), "-l", found.user)
    return ("ssh", "-F", "/dev/null", *options, kind, *where, "--", found.address, *words)


def _path(path: Path) -> str:
    """Return a path as ssh's configuration takes it, where `%` begins a token."""
    return f'"{str(path).replace("%", "%%")}"'


def _key(folder: Path) -> str:
    """Return the line of a new public key; the private one is in the folder."""
    words = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(folder / "key"))
    made = local.run(words, timeout_s=_LIMIT_S)
    if made.returncode != 0:
        raise EnvironmentFailed(f"ssh-keygen makes no key: {made.complaint}")
    return (folder / "key.pub").read_text().strip()


@contextlib.contextmanager
def _asked(bucket: Bucket, job: str, key: str, at: float) -> Iterator[str]:
    """Yield the name of a visit that was asked for, and end it."""
    name = secrets.token_hex(8)
    try:
        door.ask(bucket, job, Visit(name, key, at))
        yield name
    finally:
        door.leave(bucket, job, name)


def _answer(bucket: Bucket, job: str, me: str, pause: Callable[[float], None]) -> Door:
    deadline = time.monotonic() + ANSWER_S
    while time.monotonic() < deadline:
        found = door.answered(bucket, job)
        if found is not None and me in found.visits:
            if found.problem:
                raise EnvironmentFailed(f"the machine of `{job}` lets nobody in: {found.problem}")
            return found
        pause(_LOOK_S)
    raise HostUnreachable(
        f"the machine of `{job}` does not answer: it may still be preparing",
        hint=f"perdure show {job}",
    )


def _require_way(target: str, found: Door) -> None:
    """Return if there is a way to the machine; ssh itself would only say that it took too long."""
    try:
        socket.create_connection((found.address, found.port), _CONNECT_S).close()
    except (OSError, ValueError) as error:  # no name of a host at all is the latter
        raise HostUnreachable(
            f"no way to the machine at {found.address}, port {found.port}: {error}",
            hint=f"is your network in `ssh_from`? then: perdure cloud setup {target}",
        ) from error
