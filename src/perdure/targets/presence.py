"""Whether a supervisor lives: it holds a lock on a file of its run folder for as long as it does.

The kernel lets go of the lock when the process dies, however it dies: no process id to be reused,
no heartbeat to be late.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from perdure.errors import ConflictError
from perdure.runtime import names


def is_alive(run_dir: Path) -> bool:
    """Return whether a supervisor holds the run folder."""
    try:
        fd = os.open(run_dir / names.LOCK_FILE, os.O_RDONLY)
    except OSError:
        return False
    try:
        # Shared, so that two who ask do not take each other for a supervisor.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


@contextlib.contextmanager
def held(run_dir: Path) -> Iterator[None]:
    """Hold the run folder in the supervisor's place: none can start meanwhile.

    Raises:
        ConflictError: one lives.
    """
    fd = os.open(run_dir / names.LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(
                f"job `{run_dir.name}` is running", hint=f"perdure kill {run_dir.name}"
            ) from None
        yield
    finally:
        os.close(fd)
