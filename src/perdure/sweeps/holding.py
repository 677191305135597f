"""The driver's lock, and its last words in the same file.

The file has its full length from the beginning and is only ever written over, so that a driver can
say that the disk is full when it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from perdure.errors import ConflictError
from perdure.hosts import processes
from perdure.runtime import names

SWEEP_FILE = "sweep.json"
# As a run folder's: who cleans knows it.
DRIVER_LOCK = names.LOCK_FILE
_BYTES = 1024
#: What a driver ends with that was asked to: by its system, or by whoever stopped the sweep.
BY_SYSTEM = "SIGTERM"
STOPPED = "the sweep was stopped"


@dataclass(frozen=True, slots=True)
class Word:
    """What a driver said last: its process id, and what it waits for ("": nothing).

    `over`: it ended with nothing left to do, by the wishes that it names (`version`).
    """

    pid: int
    since: float
    waits: str = ""
    over: str = ""


class Holding:
    """A lock that is held."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def say(self, word: Word) -> None:
        """Write a word over the one before; what a disk refuses is not said."""
        data = _encoded(word)
        while len(data) > _BYTES:
            # One letter takes up to twelve bytes.
            shorter = word.waits[: len(word.waits) - max(1, (len(data) - _BYTES) // 12)]
            word = replace(word, waits=shorter)
            data = _encoded(word)
        with contextlib.suppress(OSError):
            os.pwrite(self._fd, data.ljust(_BYTES), 0)
            os.ftruncate(self._fd, _BYTES)

    def release(self) -> None:
        """Let go of the lock: this driver begins nothing any more."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)


def _encoded(word: Word) -> bytes:
    return json.dumps(asdict(word)).encode()


@contextlib.contextmanager
def held(folder: Path) -> Iterator[Holding]:
    """Hold the lock of a sweep: no other driver can begin.

    Raises:
        ConflictError: a driver lives.
        OSError: the file cannot be written.
    """
    fd = os.open(folder / DRIVER_LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(f"the sweep `{folder.name}` has a driver already") from None
        yield Holding(fd)
    finally:
        os.close(fd)


def is_driven(folder: Path) -> bool:
    """Return whether a driver lives. Touches the disk."""
    return processes.is_held(folder / DRIVER_LOCK)


def last_word(folder: Path) -> Word | None:
    """Return what the driver said last, None if it never did. Reads the disk."""
    try:
        # Behind it an older perdure may have left the end of a longer one.
        content = json.loads((folder / DRIVER_LOCK).read_bytes()[:_BYTES])
        known = (int(content["pid"]), float(content["since"]))
        return Word(*known, str(content["waits"]), str(content["over"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def version(folder: Path) -> str:
    """Return what changes with every change of a sweep's wishes. Touches the disk.

    Raises:
        OSError: the sweep is not there.
    """
    found = (folder / SWEEP_FILE).stat()
    return f"{found.st_ino}-{found.st_mtime_ns}"
