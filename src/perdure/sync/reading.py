"""Files of this side by their contents: read once, and known until stat says otherwise."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from perdure.sync.far.tree import (
    FILE,
    LINK,
    MODE,
    Entry,
    Memory,
    Moving,
    Seen,
    digest_of,
    read,
    seen,
    stamp_of,
)

_TRIES = 3


@dataclass(frozen=True, slots=True)
class Content:
    """A file or a link as it was read, with what stat said; None: too large to be read at once."""

    entry: Entry
    data: bytes | None
    found: os.stat_result


class Reader:
    """Reads files below `root`, and keeps in `memory` what they were."""

    def __init__(self, root: Path, memory: Memory) -> None:
        self._root = root
        self._memory = memory

    def contents(self, path: str, most: int) -> Content | None:
        """Return what a file or link is with its contents, None if it is gone.

        Of a file with more than `most` bytes the contents are not read.

        Raises:
            OSError: it cannot be read, or changes faster than it can be.
        """
        full = self._full(path)
        try:
            fd = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            return self._link(path, full)
        try:
            return self._read_whole(path, fd, most)
        finally:
            os.close(fd)

    def _link(self, path: str, full: str) -> Content | None:
        try:
            found = os.lstat(full)
            if not stat.S_ISLNK(found.st_mode):
                return None
            target = os.fsencode(os.readlink(full))
        except (FileNotFoundError, NotADirectoryError):
            return None
        saw = seen(found, Entry(LINK, digest_of(target), 0))
        return Content(self._remember(path, saw).entry, target, found)

    def read(self, path: str) -> Entry | None:
        """Return an entry with its digest, None if it is gone.

        Raises:
            OSError: it cannot be read.
        """
        full = self._full(path)
        try:
            found = os.lstat(full)
        except (FileNotFoundError, NotADirectoryError):
            return None
        before = self._memory.get(path)
        if before is not None and before.settled and before.stamp == stamp_of(found):
            return before.entry
        saw = read(full, None, found)
        return self._remember(path, saw).entry if saw is not None else None

    def _read_whole(self, path: str, fd: int, most: int) -> Content | None:
        for _ in range(_TRIES):
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode):
                return None
            if before.st_size > most:
                return Content(Entry(FILE, "", before.st_mode & MODE), None, before)
            content = os.read(fd, before.st_size + 1)
            after = os.fstat(fd)
            if len(content) == after.st_size and stamp_of(before) == stamp_of(after):
                entry = Entry(FILE, digest_of(content), after.st_mode & MODE)
                return Content(self._remember(path, seen(after, entry)).entry, content, after)
            os.lseek(fd, 0, os.SEEK_SET)
        raise Moving(0, "changes faster than it can be read", path)

    def _remember(self, path: str, saw: Seen) -> Seen:
        self._memory[path] = saw
        return saw

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}"
