"""Whether a supervisor lives: it holds a lock on a file of its run folder for as long as it does.

The kernel lets go of the lock when the process dies, however it dies: no process id to be reused,
no heartbeat to be late. Where a file system has no locks, the process that claimed the newest
generation is looked for instead. Of a job that a scheduler runs, that is asked: it runs on another
machine, whose locks may not be seen here.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from perdure.errors import ConflictError
from perdure.runtime import generation, names
from perdure.targets.standing import Standing


def standing(run_dir: Path) -> Standing:
    """Return how the job of a run folder stands. Reads the disk; may ask a scheduler."""
    if os.path.exists(run_dir / names.TICKET_FILE):  # noqa: PTH110 - asked all the time
        from perdure.targets.slurm_ticket import read_ticket, standing_of

        ticket = read_ticket(run_dir)
        if ticket is not None:
            return standing_of(run_dir, ticket)
    if os.path.exists(run_dir / names.KUBERNETES_FILE):  # noqa: PTH110 - as above
        from perdure.targets import kubernetes_ticket

        held = kubernetes_ticket.read_ticket(run_dir)
        if held is not None:
            return kubernetes_ticket.standing_of(run_dir, held)
    return Standing(is_locked(run_dir))


def is_alive(run_dir: Path) -> bool:
    """Return whether the job goes on: a supervisor holds the run folder, or a scheduler has it."""
    return standing(run_dir).alive


def is_locked(run_dir: Path) -> bool:
    """Return whether a supervisor holds the run folder, as far as this machine can see."""
    try:
        fd = os.open(run_dir / names.LOCK_FILE, os.O_RDONLY)
    except OSError:
        return False
    try:
        # Shared, so that two who ask do not take each other for a supervisor.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return _claimant_lives(run_dir)
    finally:
        os.close(fd)
    return False


@contextlib.contextmanager
def held(run_dir: Path) -> Iterator[None]:
    """Hold the run folder in the supervisor's place: none can start meanwhile.

    Raises:
        ConflictError: one lives.
    """
    if standing(run_dir).alive:
        raise _running(run_dir)
    tickets = (names.TICKET_FILE, names.KUBERNETES_FILE)
    if any(os.path.exists(run_dir / each) for each in tickets):  # noqa: PTH110 - as above
        # On a node that was given up somebody may hold the lock, and is fenced.
        yield
        return
    fd = os.open(run_dir / names.LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            taken = True
        except BlockingIOError:
            taken = False
        except OSError:
            taken = not _claimant_lives(run_dir)
        if not taken:
            raise _running(run_dir)
        yield
    finally:
        os.close(fd)


def _running(run_dir: Path) -> ConflictError:
    return ConflictError(f"job `{run_dir.name}` is running", hint=f"perdure kill {run_dir.name}")


def _claimant_lives(run_dir: Path) -> bool:
    """Return whether the supervisor that claimed last runs; one of another host is taken to."""
    # Here, not above: `ps` looks at locks all the time, and hardly ever comes here.
    import socket

    from perdure.hosts import processes

    newest = generation.newest(run_dir)
    if not newest:
        return False
    try:
        claim = json.loads((run_dir / f"{names.GENERATION_PREFIX}{newest:06d}").read_bytes())
        host, pid = claim["host"], int(claim["pid"])
        # The driver of a sweep supervises many jobs, and does not name them all.
        command = str(claim.get("command") or os.fspath(run_dir))
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if host != socket.gethostname():
        return True
    return os.fsencode(command) in processes.command_of(pid)
