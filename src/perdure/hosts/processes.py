"""Processes of this machine that perdure did not start itself: found by what they carry, killed.

A process id alone says nothing after a crash or a restart: the kernel gives it to somebody else.
So a process counts only if it carries the variable it was given, or if it started at the recorded
tick of the recorded boot.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from perdure.errors import PerdureError
from perdure.hosts.local import kill_group, run

_PROC = Path("/proc")
_ASK_S = 5.0
_ROUNDS = 20


def carrying(variable: str, value: str, *, proc: Path = _PROC) -> frozenset[int]:
    """Return the ids of processes, this one aside, whose environment has `variable=value`.

    Reads /proc; where there is none, asks `ps`. Zombies and processes of others do not count.
    """
    wanted = os.fsencode(f"{variable}={value}")
    found = _by_proc(wanted, proc) if proc.is_dir() else _by_ps(wanted)
    return frozenset(found) - {os.getpid()}


def command_of(pid: int, *, proc: Path = _PROC) -> bytes:
    """Return the command line of a process, b"" where there is no such process."""
    try:
        return (proc / str(pid) / "cmdline").read_bytes()
    except OSError:
        if proc.is_dir():
            return b""
    try:
        return run(["ps", "-ww", "-p", str(pid), "-o", "command="], timeout_s=_ASK_S).stdout
    except PerdureError:
        return b""


def is_held(file: Path) -> bool:
    """Return whether a process holds a lock on a file for itself alone. Touches the disk.

    The kernel lets go of the lock when that process dies, however it dies.
    """
    try:
        fd = os.open(file, os.O_RDONLY)
    except OSError:
        return False
    try:
        # Shared, so that two who ask do not take each other for the holder.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def start_ticks(pid: int, *, proc: Path = _PROC) -> int | None:
    """Return when a process started, in clock ticks since boot; None where nobody can say."""
    try:
        stat = (proc / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # The name, in parentheses, may hold anything: what follows the last one is fixed (proc(5)).
    after_name = stat.rpartition(b")")[2].split()
    return int(after_name[19]) if len(after_name) > 19 else None


def kill_all(
    find: Callable[[], frozenset[int]], *, pause: Callable[[float], None] = time.sleep
) -> int:
    """Send SIGKILL to what `find` finds until it finds nothing; return how many were killed.

    Asked again each round, because a process may have started another one meanwhile.

    Raises:
        PerdureError: some cannot be killed.
    """
    killed: set[int] = set()
    for attempt in range(_ROUNDS):
        found = find()
        if not found:
            return len(killed)
        killed |= found
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        pause(0.01 * (attempt + 1))
    listed = ", ".join(str(pid) for pid in sorted(find()))
    raise PerdureError(f"processes {listed} do not end, even by SIGKILL", hint="ps -fp " + listed)


def kill_started(pgid: int, ticks: int) -> None:
    """Kill the group `pgid` if its leader is still the process that started at `ticks`."""
    if pgid > 1 and start_ticks(pgid) == ticks:
        kill_group(pgid)


def _by_proc(wanted: bytes, proc: Path) -> Iterator[int]:
    for name in os.listdir(proc):  # noqa: PTH208 - thousands of names, no need of paths
        if name.isdigit():
            try:
                environment = (proc / name / "environ").read_bytes()
            except OSError:
                continue
            if wanted in environment.split(b"\0"):
                yield int(name)


def _by_ps(wanted: bytes) -> Iterator[int]:
    """The portable other side: BSD's `e` shows the environment of one's own processes."""
    try:
        answer = run(["ps", "axeww", "-o", "pid=,command="], timeout_s=_ASK_S)
    except PerdureError:
        return
    for line in answer.stdout.splitlines():
        pid, _, rest = line.strip().partition(b" ")
        if pid.isdigit() and wanted in rest:
            # `a=b` is also found inside `a=bc`: what follows must end it.
            after = rest.partition(wanted)[2]
            if not after or after.startswith(b" "):
                yield int(pid)
