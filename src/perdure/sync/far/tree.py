"""What lies under a path: a file or a link with its digest, and what stat said of it.

A digest is kept with what stat says, so that nothing is read twice that has not changed. Two writes
within one tick of a file system's clock look alike to stat: what is that fresh is read once more.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from typing import Callable, Dict, NamedTuple, Optional, Tuple

FILE, LINK, FOLDER, OTHER = "f", "l", "d", "o"
MODE = 0o777
# The coarsest clock of a Linux file system ticks every 10 ms (CONFIG_HZ=100).
TICK_NS = 50_000_000
DIGEST_LENGTH = 32
BLOCK_BYTES = 1 << 20

Stamp = Tuple[int, int, int, int]
# What is called again and again while something takes its time.
Tick = Callable[[], None]


class Entry(NamedTuple):
    """A file or a link: the digest of its contents (empty: not read yet), its permissions."""

    kind: str
    digest: str
    mode: int


class Seen(NamedTuple):
    """An entry, and what stat said: of modification, change, size and inode."""

    stamp: Stamp
    entry: Entry
    settled: bool


Memory = Dict[str, Seen]


class Moving(OSError):
    """A file changed while it was read."""


def stamp_of(found: os.stat_result) -> Stamp:
    """Return what of a stat tells one content from another."""
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def is_settled(stamp: Stamp, now_ns: int) -> bool:
    """Return whether a later write is sure to show: the clock has ticked since, or will show it."""
    return now_ns - stamp[1] > TICK_NS or abs(stamp[1] - stamp[0]) > TICK_NS


def kind_of(mode: int) -> str:
    """Return what a mode of stat says it is."""
    if stat.S_ISREG(mode):
        return FILE
    if stat.S_ISLNK(mode):
        return LINK
    return FOLDER if stat.S_ISDIR(mode) else OTHER


def digest_of(content: bytes) -> str:
    """Return what names a content."""
    return hashlib.sha256(content).hexdigest()[:DIGEST_LENGTH]


def _nothing() -> None:
    pass


def look(
    name: str,
    folder: Optional[int] = None,
    before: Optional[Seen] = None,
    tick: Tick = _nothing,
) -> Optional[Seen]:
    """Return what lies there, None if nothing does. Reads a file that is not as seen before.

    Raises:
        OSError: it cannot be read.
        Moving: it changes faster than it can be read.
    """
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if before is not None and before.settled and before.stamp == stamp_of(found):
        return before
    return read(name, folder, found, tick)


def read(
    name: str, folder: Optional[int], found: os.stat_result, tick: Tick = _nothing
) -> Optional[Seen]:
    """Return what lies there by its contents, None if nothing does any more."""
    kind = kind_of(found.st_mode)
    try:
        if kind == FILE:
            return _read_file(name, folder, tick)
        if kind == LINK:
            digest = digest_of(os.fsencode(os.readlink(name, dir_fd=folder)))
            return seen(found, Entry(LINK, digest, 0))
    except (FileNotFoundError, NotADirectoryError):
        return None
    return seen(found, Entry(kind, "", 0))


def seen(found: os.stat_result, entry: Entry) -> Seen:
    """Return an entry with what stat says of it."""
    stamp = stamp_of(found)
    return Seen(stamp, entry, is_settled(stamp, time.time_ns()))


def _read_file(name: str, folder: Optional[int], tick: Tick) -> Optional[Seen]:
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(name, flags, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            return look(name, folder)
        raise
    try:
        for _ in range(3):
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode):
                return seen(before, Entry(kind_of(before.st_mode), "", 0))
            digest = hashlib.sha256()
            os.lseek(fd, 0, os.SEEK_SET)
            while True:
                block = os.read(fd, BLOCK_BYTES)
                if not block:
                    break
                digest.update(block)
                tick()
            after = os.fstat(fd)
            if stamp_of(before) == stamp_of(after):
                entry = Entry(FILE, digest.hexdigest()[:DIGEST_LENGTH], after.st_mode & MODE)
                return seen(after, entry)
    finally:
        os.close(fd)
    raise Moving(errno.EBUSY, "changes faster than it can be read", name)
