"""Folders below a root, opened one below the other without following a link (openat(2))."""

from __future__ import annotations

import errno
import os
from typing import Callable, Dict, Tuple

_NO_NAMES = frozenset({"", ".", ".."})
_TRIES = 100
_MOST_OPEN = 128

# Told the folder above, the name and the path of what is no folder and stands where one has to be.
Clear = Callable[[int, str, str], None]


class Refused(Exception):
    """What was asked is not done, and why."""


def split(path: str) -> Tuple[str, str]:
    """Return the folder and the name of a path that stays below its root.

    Raises:
        Refused: it would not.
    """
    parts = path.split("/")
    if "\0" in path or not _NO_NAMES.isdisjoint(parts):
        raise Refused("is no path below the project")
    return "/".join(parts[:-1]), parts[-1]


def leads_out(path: str, target: str) -> bool:
    """Return whether a link at `path` may lead out of the tree. Pure.

    `..` is understood at the beginning only: behind a name, which may be a link, it leads anywhere.
    """
    parts = [part for part in target.split("/") if part not in ("", ".")]
    upwards = 0
    while upwards < len(parts) and parts[upwards] == "..":
        upwards += 1
    return target.startswith("/") or ".." in parts[upwards:] or upwards > path.count("/")


class Folders:
    """Descriptors of folders by path, open until `release`: others may replace them meanwhile."""

    def __init__(self, root: str, clear: Clear) -> None:
        self.root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._clear = clear
        self._open: Dict[str, int] = {}

    def close(self) -> None:
        """Close all, and the root."""
        self.release()
        os.close(self.root)

    def release(self) -> None:
        """Close all but the root."""
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()

    def get(self, path: str, *, make: bool = False) -> int:
        """Return the descriptor of a folder.

        Raises:
            FileNotFoundError: it is not there, and not to be made.
            Refused: something is in the way, and stays.
        """
        if not path:
            return self.root
        found = self._open.get(path)
        if found is not None:
            return found
        parent, _, name = path.rpartition("/")
        above = self.get(parent, make=make)
        if len(self._open) >= _MOST_OPEN:
            self._close_others(parent)
        fd = self._enter(above, name, path, make)
        self._open[path] = fd
        return fd

    def close_below(self, path: str) -> None:
        """Close a folder and those in it: it is about to move."""
        for each in [p for p in self._open if p == path or p.startswith(path + "/")]:
            os.close(self._open.pop(each))

    def _enter(self, above: int, name: str, path: str, make: bool) -> int:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        for _ in range(_TRIES):
            try:
                return os.open(name, flags, dir_fd=above)
            except FileNotFoundError:
                if not make:
                    raise
                _make(name, above)
            except OSError as error:
                if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                    raise
                if not make:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
                self._clear(above, name, path)
        raise Refused("lies where something else is made again and again")

    def _close_others(self, path: str) -> None:
        kept = {path[:at] for at in range(len(path)) if path[at] == "/"} | {path}
        for each in [p for p in self._open if p not in kept]:
            os.close(self._open.pop(each))


def _make(name: str, above: int) -> None:
    try:
        os.mkdir(name, 0o777, dir_fd=above)
    except FileExistsError:
        pass
