"""Generations: which attempt owns a run folder.

Each attempt claims the next number by creating `gen-NNNNNN` with O_EXCL; the highest number owns
the folder, and whoever finds a higher one than its own stops writing (a fencing token: Kleppmann,
"How to do distributed locking", 2016). Order never depends on a clock.

Standard library only.
"""

from __future__ import annotations

import json
import os
from typing import Iterable

from perdure.runtime import names


class Fenced(RuntimeError):
    """A newer attempt owns the run folder: stop, and do not run again."""

    def __init__(self, mine: int, newest: int) -> None:
        super().__init__(f"generation {mine} was superseded by generation {newest}")
        self.mine = mine
        self.newest = newest


def sync_folder(path: str | os.PathLike[str]) -> None:
    """Make the names in a folder durable (fsync of the folder itself)."""
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def newest(run_dir: str | os.PathLike[str]) -> int:
    """Return the highest generation claimed in the run folder, 0 where there is none."""
    return newest_of(os.listdir(run_dir))


def newest_of(held: Iterable[str]) -> int:
    """Return the highest generation among the names that a run folder holds, 0 for none."""
    prefix = names.GENERATION_PREFIX
    claimed = (name[len(prefix) :] for name in held if name.startswith(prefix))
    return max((int(number) for number in claimed if number.isdigit()), default=0)


def claim(run_dir: str | os.PathLike[str]) -> int:
    """Claim the next generation durably and return its number. Touches the disk."""
    generation = newest(run_dir) + 1
    note = json.dumps({"pid": os.getpid(), "host": os.uname().nodename}).encode()
    while True:
        path = os.path.join(run_dir, f"{names.GENERATION_PREFIX}{generation:06d}")
        try:
            fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            generation += 1
            continue
        try:
            os.write(fd, note)
            os.fsync(fd)
        finally:
            os.close(fd)
        sync_folder(run_dir)
        return generation


def check(run_dir: str | os.PathLike[str], mine: int) -> None:
    """Return if `mine` still owns the run folder.

    Raises:
        Fenced: a newer generation was claimed.
    """
    highest = newest(run_dir)
    if highest > mine:
        raise Fenced(mine, highest)
