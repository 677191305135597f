"""In whose hands a job is while somebody has it go elsewhere: nobody starts it meanwhile."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from perdure.errors import ConflictError


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a job to have it go elsewhere: on this machine nobody starts it meanwhile.

    Raises:
        ConflictError: somebody starts it right now, or has it go elsewhere.
    """
    with _locked(folder, fcntl.LOCK_EX):
        yield


@contextlib.contextmanager
def starting(folder: Path) -> Iterator[None]:
    """Hold a job to start it: many may try, but none while it goes elsewhere.

    Raises:
        ConflictError: it goes elsewhere right now.
    """
    with _locked(folder, fcntl.LOCK_SH):
        yield


@contextlib.contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    # The folder itself: what is in it is replaced, and a file of its own would be carried along.
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # On a file system without locks, only the second look is left.
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(fd, how | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConflictError(
                    f"job `{folder.name}` is being started, or is on its way elsewhere",
                    hint="try again in a minute",
                ) from None
        yield
    finally:
        os.close(fd)
