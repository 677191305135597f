"""Which processes belong to an attempt, and signals to them.

On Linux those in its session and those that carry its PERDURE_RUN_DIR, so that one that called
setsid is found too; elsewhere the process group only. What Apptainer starts to mount an image has
a group of its own, no variables, and outlives an Apptainer that was killed: its session finds it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from perdure.runtime import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ZOMBIE = b"Z"


def send(targets: Iterable[int], number: int) -> None:
    """Signal processes, and groups where a target is negative; those that are gone are no error."""
    for target in targets:
        _kill(target, number)


def belonging(group: int | None, run_dir: str, proc: str = "/proc") -> list[int]:
    """Return the targets for `send` that belong to the run folder or the group, zombies left out.

    The group's leader leads a session, too, to which all belong that do not leave it. This process
    and those it descends from are spared. Where there is no `proc`, the group stands for its
    members: `[-group]` while it has any.
    """
    if not os.path.isdir(os.path.join(proc, "self")):
        return [-group] if group is not None and _kill(-group, 0) else []
    spared = set(_ancestors(proc))
    mark = os.fsencode(f"{names.RUN_DIR}={run_dir}")
    return [
        pid
        for pid, state, _, *its_groups in _running(proc)
        if pid not in spared
        and state != _ZOMBIE
        and (group in its_groups or mark in _environment(proc, pid))
    ]


def start_ticks(pid: int, proc: str = "/proc") -> int | None:
    """Return when a process started, in clock ticks since boot: with its id, who it is."""
    fields = _stat(proc, pid)
    return int(fields[19]) if len(fields) > 19 else None


def boot(proc: str = "/proc") -> str | None:
    """Return the id of this boot of the machine, None where the system has none."""
    if proc not in _boots:
        _boots[proc] = _read_boot(proc)
    return _boots[proc]


_boots: dict[str, str | None] = {}


def _read_boot(proc: str) -> str | None:
    try:
        with open(os.path.join(proc, "sys/kernel/random/boot_id")) as file:
            return file.read().strip()
    except OSError:
        return None


def _kill(target: int, number: int) -> bool:
    """Return whether there was anything to signal."""
    try:
        os.kill(target, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _running(proc: str) -> Iterator[tuple[int, bytes, int, int, int]]:
    """Yield (pid, state, parent, group, session) of each process."""
    for name in os.listdir(proc):
        if name.isdigit():
            fields = _stat(proc, int(name))
            if fields:
                yield int(name), fields[0], int(fields[1]), int(fields[2]), int(fields[3])


def _stat(proc: str, pid: int) -> list[bytes]:
    """Return the fields of /proc/PID/stat from the state on; [] when the process is gone."""
    line = _read(f"{proc}/{pid}/stat")
    return line.rpartition(b")")[2].split()  # the name before it may hold anything


def _environment(proc: str, pid: int) -> list[bytes]:
    return _read(f"{proc}/{pid}/environ").split(b"\0")


def _ancestors(proc: str) -> Iterator[int]:
    pid = os.getpid()
    while pid > 0:
        yield pid
        fields = _stat(proc, pid)
        pid = int(fields[1]) if fields else 0


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
