"""Word that an interruption is coming: a reason and a deadline; and the files that carry it."""

from __future__ import annotations

import json
import os
from typing import NamedTuple

from perdure.runtime import names

CANCEL_GRACE_S = 5.0
LONGEST_REASON = 1000
_LARGEST_FILE = 65536
_LATEST = 1e11  # seconds: some three thousand years on


class Notice(NamedTuple):
    """Why the training has to stop, and when the machine goes, in unix seconds, where known.

    `stays`: it is to stay interrupted, also where a scheduler would go on with it.
    """

    reason: str
    deadline: float | None = None
    stays: bool = False


def grace_left(notice: Notice, now: float, grace_s: float) -> float:
    """Return the seconds until the training is killed: to the deadline where it lies ahead.

    A deadline that has passed says only that the machine may go at any moment; nothing is won by
    killing the training before that, so it has its grace.
    """
    if notice.deadline is None or notice.deadline <= now:
        return grace_s
    return notice.deadline - now


def read_notice(text: bytes, reason: str) -> Notice:
    """Return what a touched file says: `{"reason": ..., "deadline": ..., "stays": ...}`.

    It may say nothing at all: to be there is enough.
    """
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        return Notice(reason)
    said, deadline = told.get("reason"), told.get("deadline")
    reason = said[:LONGEST_REASON] if isinstance(said, str) and said else reason
    return Notice(reason, _time(deadline), told.get("stays") is True)


def _time(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < _LATEST else None  # nor inf, nor nan


class TouchedFile:
    """A file that asks for something by being there, and is renamed once it was heard.

    The renaming comes before the answer, so that a crash in between cannot make a loop. Where it
    cannot be renamed (a read-only folder), its identity is remembered instead.
    """

    def __init__(self, run_dir: str, name: str, reason: str) -> None:
        self.path = os.path.join(run_dir, name)
        self.reason = reason
        self._heard: tuple[int, int] | None = None

    def take(self, generation: int) -> Notice | None:
        """Return what the file says and rename it to `.ack-gNNNNNN`; None where there is none."""
        if not self._present():
            return None
        return read_notice(self._renamed(f".ack-g{generation:06d}"), self.reason)

    def drop_stale(self, last_words: float | None, generation: int) -> None:
        """Rename away a file that the attempt before had been there to hear.

        `last_words` is when that attempt wrote its last event, by the clock of the same file
        system; None where there was none. A younger file came while nothing ran: it is meant.
        """
        try:
            touched = os.lstat(self.path).st_mtime
        except OSError:
            return
        if last_words is not None and touched <= last_words:
            self._renamed(f".stale-g{generation:06d}")

    def _present(self) -> bool:
        try:
            found = os.lstat(self.path)
        except OSError:
            return False
        return self._heard != (found.st_ino, found.st_mtime_ns)

    def _renamed(self, suffix: str) -> bytes:
        """Return the contents of the file, which has the suffix afterwards."""
        target = self.path + suffix
        try:
            found = os.lstat(self.path)
            self._heard = (found.st_ino, found.st_mtime_ns)
            os.rename(self.path, target)
        except OSError:
            target = self.path
        return _contents(target)


def last_words(run_dir: str, generation: int) -> float | None:
    """Return when the attempt before `generation` last wrote an event, None if there was none."""
    newest: float | None = None
    for before in range(generation - 1, 0, -1):
        path = os.path.join(run_dir, names.ATTEMPTS, names.numbered(before, ".jsonl"))
        try:
            newest = os.stat(path).st_mtime
        except OSError:
            continue
        break
    return newest


def _contents(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return b""
    try:
        return os.read(fd, _LARGEST_FILE)
    except OSError:
        return b""
    finally:
        os.close(fd)
