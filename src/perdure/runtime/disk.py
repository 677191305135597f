"""Whole files to and from a page-aligned memory, past the page cache where the system allows.

O_DIRECT is what Linux has and others lack; every function falls back to ordinary reads and writes.
A checkpoint is written once and not read again soon: keeping it out of the page cache leaves the
cache to the user's data.
"""

from __future__ import annotations

import mmap
import os
from typing import Callable

from perdure.runtime.staging import PAGE

CHUNK_BYTES = 8 << 20
_DIRECT_FROM_BYTES = 1 << 20
_DIRECT = getattr(os, "O_DIRECT", 0)


def write(path: str, memory: mmap.mmap, nbytes: int, seen: Callable[[memoryview], None]) -> None:
    """Write the first `nbytes` of `memory` to a new file, durably; `seen` gets each part first.

    Raises:
        OSError: as the system says (ENOSPC, EIO ...); the file may be there in part.
    """
    direct = _DIRECT if nbytes >= _DIRECT_FROM_BYTES else 0
    fd = _open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, direct)
    try:
        with memoryview(memory) as whole:
            for start in range(0, nbytes, CHUNK_BYTES):
                end = min(start + CHUNK_BYTES, nbytes)
                seen(whole[start:end])
                # The last part is written in whole pages, as O_DIRECT asks, and cut below.
                _write_all(fd, whole[start : -(-end // PAGE) * PAGE])
        os.ftruncate(fd, nbytes)
        os.fsync(fd)
    finally:
        os.close(fd)


def read(path: str, memory: mmap.mmap, nbytes: int, seen: Callable[[memoryview], None]) -> int:
    """Read a file of `nbytes` into `memory`; `seen` gets each part. Return the bytes read."""
    direct = _DIRECT if nbytes >= _DIRECT_FROM_BYTES else 0
    fd = _open(path, os.O_RDONLY, direct)
    done = 0
    try:
        with memoryview(memory) as whole:
            while done < nbytes:
                got = os.preadv(fd, [whole[done : done + CHUNK_BYTES]], done)
                if got == 0:
                    break
                seen(whole[done : min(done + got, nbytes)])
                done += got
    finally:
        os.close(fd)
    return done


def write_small(path: str, data: bytes) -> None:
    """Write a small new file durably."""
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    try:
        with memoryview(data) as whole:
            _write_all(fd, whole)
        os.fsync(fd)
    finally:
        os.close(fd)


def _open(path: str, flags: int, direct: int) -> int:
    if direct:
        try:
            return os.open(path, flags | direct, 0o644)
        except OSError:
            # EINVAL: a file system without O_DIRECT. It may have made the file all the same.
            flags &= ~os.O_EXCL
    return os.open(path, flags, 0o644)


def _write_all(fd: int, part: memoryview) -> None:
    done = 0
    while done < len(part):
        done += os.write(fd, part[done:])
