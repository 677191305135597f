"""A folder of this host as others ask for it: what is in it, and pieces of its files.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def listed(folder: str, without: Sequence[str]) -> list[list[object]]:
    """Return name, size and time (ns) of each file below a folder; links are left out.

    `without` names folders at its top. A folder that is not there has nothing.
    """
    base = Path(folder)
    found: list[list[object]] = []
    for path, folders, files in os.walk(base):
        if Path(path) == base:
            folders[:] = [name for name in folders if name not in without]
        for name in sorted(files):
            each = Path(path, name)
            try:
                known = each.lstat()
            except OSError:
                continue  # it has gone meanwhile
            if not each.is_symlink():
                found.append([each.relative_to(base).as_posix(), known.st_size, known.st_mtime_ns])
    return found


def piece(path: str, at: int, size: int) -> bytes:
    """Return a piece of a file, less where it ends before."""
    with Path(path).open("rb") as file:
        file.seek(at)
        return file.read(size)
