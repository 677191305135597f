"""Files as they arrive: in pieces, into a draft beside them, whole or not at all.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from perdure.errors import StorageError

_DRAFT = ".perdure-part"


def arrived(path: str, size: int) -> int:
    """Return how many bytes are there: `size` if the file is complete, else those of its draft."""
    whole, draft = _paths(path)
    if whole.is_file() and whole.stat().st_size == size:
        return size
    return min(draft.stat().st_size, size - 1) if draft.is_file() and size else 0


def take(path: str, at: int, data: bytes) -> None:
    """Write a piece of a file into its draft. Touches the disk."""
    whole, draft = _paths(path)
    whole.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.ftruncate(fd, at)
        os.lseek(fd, at, os.SEEK_SET)
        left = memoryview(data)
        while left:
            left = left[os.write(fd, left) :]
    finally:
        os.close(fd)


def settle(path: str, sha256: str, mode: int) -> None:
    """Make a draft the file, if it is what was sent.

    Raises:
        StorageError: it is not; it is removed.
    """
    whole, draft = _paths(path)
    digest = hashlib.sha256()
    with draft.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
        if digest.hexdigest() != sha256:
            draft.unlink()
            raise StorageError(f"`{whole}` did not arrive as it was sent", hint="try again")
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    draft.replace(whole)


def _paths(path: str) -> tuple[Path, Path]:
    whole = Path(path).expanduser()
    return whole, whole.with_name(whole.name + _DRAFT)
