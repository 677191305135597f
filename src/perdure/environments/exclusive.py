"""One perdure at a time: a lock file that lives as long as its holder, and no longer."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.environments.uv import unwritable
from perdure.errors import TimeoutExpired

if TYPE_CHECKING:
    from perdure.model.report import Report

TIMEOUT_S = 3600.0
_POLL_S = 0.2


@contextlib.contextmanager
def alone(
    file: Path,
    what: str,
    report: Report,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold the lock file; `what` another holder is doing is told once while waiting for it.

    Raises:
        StorageError: the file cannot be written.
        TimeoutExpired: another one held it for an hour.
    """
    try:
        held = file.open("ab")
    except OSError as error:
        raise unwritable(file.parent, error) from error
    deadline = clock() + TIMEOUT_S
    with held:
        if not _take(held.fileno()):
            report(f"another perdure is {what}; waiting for it")
            while not _take(held.fileno()):
                if clock() > deadline:
                    raise TimeoutExpired(f"another perdure has been {what} for an hour")
                sleep(_POLL_S)
        yield


@contextlib.contextmanager
def if_alone(file: Path) -> Iterator[bool]:
    """Hold the lock file if nobody else does, without waiting; yield whether it is held.

    Raises:
        StorageError: the file cannot be written.
    """
    try:
        held = file.open("ab")
    except OSError as error:
        raise unwritable(file.parent, error) from error
    with held:
        yield _take(held.fileno())


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
