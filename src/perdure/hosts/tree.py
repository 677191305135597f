"""Which processes a process has started, and those in turn, as Linux's /proc tells it."""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path("/proc")


def descendants(pid: int, *, proc: Path = _PROC) -> tuple[int, ...]:
    """Return the ids of what a process and its children started; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    try:
        names = [name for name in os.listdir(proc) if name.isdigit()]  # noqa: PTH208 - names only
    except OSError:
        return ()
    for name in names:
        parent = _parent(proc / name / "stat")
        if parent is not None:
            children.setdefault(parent, []).append(int(name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return tuple(found)


def _parent(stat: Path) -> int | None:
    try:
        # A name may hold anything, brackets too; the state and the parent follow the last one.
        return int(stat.read_bytes().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None
