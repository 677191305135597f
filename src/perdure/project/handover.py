"""What root's perdure made in somebody else's project, handed to them.

Only what perdure itself makes: its locks and its folder. Root may be led astray in a folder that
somebody else may write to, so no link is followed, and a file that has a name elsewhere is left: it
may be a wheel or in a cache of the machine's, or one that is nobody's to give away.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections import Counter
from collections.abc import Callable
from pathlib import Path

#: What is done to each: a file descriptor that leads to it, and what it is.
Visit = Callable[[int, os.stat_result], None]

OURS = ("uv.lock", "perdure.lock", ".perdure")
# Below these, a folder is made whole and then left as it is: its own owner says who has all of it.
_WHOLE = frozenset(("environments", "snapshots"))


def hand_over(root: Path) -> None:
    """Give what root made of perdure's own in a project to the owner of its folder.

    Nothing is done by anybody but root, or where that is the owner. What cannot be given is left.
    """
    if os.geteuid() != 0 or not hasattr(os, "O_PATH"):
        return
    with contextlib.suppress(OSError):
        owner = root.stat()
        if owner.st_uid == 0:
            return
        here = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            _give(here, owner.st_uid, owner.st_gid)
        finally:
            os.close(here)


def _give(here: int, user_id: int, group_id: int) -> None:
    names: Counter[tuple[int, int]] = Counter()

    def count(_: int, found: os.stat_result) -> None:
        names[found.st_dev, found.st_ino] += 1

    def give(opened: int, found: os.stat_result) -> None:
        # A snapshot shares its files with other ones: these names are all among perdure's own.
        inside = stat.S_ISDIR(found.st_mode) or names[found.st_dev, found.st_ino] == found.st_nlink
        if found.st_uid == 0 and inside:
            os.chown(f"/proc/self/fd/{opened}", user_id, group_id)

    for visit in (count, give):
        for name in OURS:
            _visit(visit, name, here, above="")


def _visit(visit: Visit, name: str, parent: int, *, above: str) -> None:
    """Visit what has that name in an opened folder; before a folder, what is in it."""
    with contextlib.suppress(OSError):
        # What is looked at is what is given: the name may be another thing's by then.
        opened = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=parent)
        try:
            found = os.fstat(opened)
            if stat.S_ISDIR(found.st_mode) and not (above in _WHOLE and found.st_uid != 0):
                _visit_inside(visit, opened, name)
            visit(opened, found)
        finally:
            os.close(opened)


def _visit_inside(visit: Visit, opened: int, name: str) -> None:
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=opened)
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
        for each in names:
            _visit(visit, each, folder, above=name)
    finally:
        os.close(folder)
