"""Whole files to and from a page-aligned memory, past the page cache where the system allows.

O_DIRECT is what Linux has and others lack; every function falls back to ordinary reads and writes.
A checkpoint is written once and not read again soon: keeping it out of the page cache leaves the
cache to the user's data.
"""

from __future__ import annotations

import errno
import mmap
import os
import queue
import threading
from typing import Callable, List

from perdure.runtime.staging import PAGE

# One write fills the disk's queue; few calls also mean few waits for the interpreter's lock.
WRITE_BYTES = 256 << 20
# Two readers: one faults its memory in while the disk works for the other; more only contend.
READ_BYTES = 32 << 20
READERS = 2
_DIRECT_FROM_BYTES = 1 << 20
_DIRECT = getattr(os, "O_DIRECT", 0)
# A small file is written in as many parts too, so that a drill can interrupt it between them.
_PARTS = 4

Move = Callable[[int, List[memoryview], int], int]


def write(path: str, memory: mmap.mmap, nbytes: int, before: Callable[[], None]) -> None:
    """Write the first `nbytes` of `memory` to a new file, durably; `before` is called at each part.

    Raises:
        OSError: as the system says (ENOSPC, EIO ...); the file may be there in part.
    """
    size = min(WRITE_BYTES, _pages(-(-nbytes // _PARTS)))
    fd = _open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, nbytes)
    try:
        with memoryview(memory) as whole:
            for start in range(0, nbytes, size):
                end = min(start + size, nbytes)
                before()
                # The last part is written in whole pages, as O_DIRECT asks, and cut below.
                _write_at(fd, whole[start : _pages(end)], start)
        os.ftruncate(fd, nbytes)
        os.fsync(fd)
    finally:
        os.close(fd)


def read(path: str, memory: mmap.mmap, nbytes: int, seen: Callable[[memoryview], None]) -> int:
    """Read a file of `nbytes` into `memory`, `seen` gets each part in order; return the bytes read.

    Raises:
        OSError: as the system says.
    """
    fd = _open(path, os.O_RDONLY, nbytes)
    try:
        with memoryview(memory) as whole, _Readers(fd, whole, nbytes) as readers:
            done = 0
            for number in range(readers.parts):
                got = readers.take(number)
                seen(whole[done : done + got])
                done += got
                if got < min(READ_BYTES, nbytes - number * READ_BYTES):
                    break
            return done
    finally:
        os.close(fd)


def write_small(path: str, data: bytes) -> None:
    """Write a small new file durably.

    Raises:
        OSError: as the system says.
    """
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    try:
        with memoryview(data) as whole:
            _write_at(fd, whole, 0)
        os.fsync(fd)
    finally:
        os.close(fd)


class _Readers:
    """Threads that read every n-th part of a file each; parts are taken in order."""

    def __init__(self, fd: int, whole: memoryview, nbytes: int) -> None:
        self.parts = -(-nbytes // READ_BYTES)
        self._fd = fd
        self._whole = whole
        self._nbytes = nbytes
        self._ended = False
        count = min(READERS, self.parts)
        self._got: List["queue.SimpleQueue[int | OSError]"] = [
            queue.SimpleQueue() for _ in range(count)
        ]
        self._threads = [
            threading.Thread(target=self._read, args=(first,), name="perdure-reader")
            for first in range(count)
        ]

    def __enter__(self) -> "_Readers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        for thread in self._threads:
            thread.join()

    def take(self, number: int) -> int:
        """Return how many bytes of a part were there."""
        got = self._got[number % len(self._threads)].get()
        if isinstance(got, OSError):
            raise got
        return got

    def _read(self, first: int) -> None:
        for number in range(first, self.parts, len(self._threads)):
            if self._ended:
                return
            try:
                got: "int | OSError" = self._part(number * READ_BYTES)
            except OSError as error:
                got = error
            self._got[first].put(got)

    def _part(self, start: int) -> int:
        end = min(start + READ_BYTES, self._nbytes)
        at = start
        while at < end:
            # Whole pages, as O_DIRECT asks; the memory has them, and the file ends where it ends.
            got = _move(os.preadv, self._fd, self._whole[at : _pages(end)], at)
            if got == 0:
                break
            at = min(at + got, end)
        return at - start


def _pages(nbytes: int) -> int:
    """Return the size of the whole pages that hold `nbytes`."""
    return -(-nbytes // PAGE) * PAGE


def _open(path: str, flags: int, nbytes: int) -> int:
    direct = _DIRECT if nbytes >= _DIRECT_FROM_BYTES else 0
    if direct:
        try:
            return os.open(path, flags | direct, 0o644)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # A file system without O_DIRECT. It may have made the file all the same.
            flags &= ~os.O_EXCL
    return os.open(path, flags, 0o644)


def _write_at(fd: int, part: memoryview, start: int) -> None:
    done = 0
    while done < len(part):
        done += _move(os.pwritev, fd, part[done:], start + done)


def _move(call: Move, fd: int, part: memoryview, start: int) -> int:
    """Return the bytes moved; without O_DIRECT where that asks for other sizes than a page's."""
    try:
        return call(fd, [part], start)
    except OSError as error:
        if error.errno != errno.EINVAL or not _make_buffered(fd):
            raise
        return call(fd, [part], start)


def _make_buffered(fd: int) -> bool:
    """Take O_DIRECT off an open file; say whether it was on."""
    if not _DIRECT:
        return False
    import fcntl

    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags & ~_DIRECT)
    return bool(flags & _DIRECT)
