"""Word of changed files from Linux itself: inotify(7), which costs nothing while all is quiet."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from typing import Dict, Iterable, List, Optional, Set

_ATTRIB, _CLOSE_WRITE = 0x4, 0x8
_MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x40, 0x80, 0x100, 0x200
_OVERFLOW, _IGNORED, _ISDIR = 0x4000, 0x8000, 0x40000000
_ONLYDIR, _DONT_FOLLOW, _EXCL_UNLINK = 0x1000000, 0x2000000, 0x4000000
_WANTED = _ATTRIB | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
_HOW = _ONLYDIR | _DONT_FOLLOW | _EXCL_UNLINK
_EVENT = struct.Struct("iIII")
_READ_BYTES = 1 << 18


class Inotify:
    """Watches the folders of a tree that it is told of. A file counts once it is closed."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._folders: Dict[int, str] = {}
        self._watched: Dict[str, int] = {}
        self.is_short = False

    def fileno(self) -> int:
        """Return the descriptor that is readable when something changed."""
        return int(self._fd)

    def watch(self, folders: Iterable[str]) -> List[str]:
        """Watch these folders and no others; return those that were not watched before."""
        wanted = set(folders)
        for gone in self._watched.keys() - wanted:
            number = self._watched.pop(gone)
            if self._folders.get(number) == gone:
                del self._folders[number]
                self._libc.inotify_rm_watch(self._fd, number)
        return [folder for folder in sorted(wanted - self._watched.keys()) if self._add(folder)]

    def read(self) -> Optional[Set[str]]:
        """Return the paths that changed, folders too; None: more than anybody could count."""
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return set()
        found: Set[str] = set()
        at = 0
        while at < len(data):
            number, mask, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size
            name = data[at : at + length].rstrip(b"\0")
            at += length
            if mask & _OVERFLOW:
                return None
            path = self._path(number, mask, os.fsdecode(name))
            if path is not None:
                found.add(path)
        return found

    def close(self) -> None:
        """Watch nothing any more."""
        os.close(self._fd)

    def _add(self, folder: str) -> bool:
        full = os.fsencode(self._root + "/" + folder)
        number = self._libc.inotify_add_watch(self._fd, full, _WANTED | _HOW)
        if number < 0:
            self.is_short = self.is_short or ctypes.get_errno() == errno.ENOSPC
            return False
        self._folders[number] = folder
        self._watched[folder] = number
        return True

    def _path(self, number: int, mask: int, name: str) -> Optional[str]:
        folder = self._folders.get(number)
        if folder is None:
            return None
        if mask & _IGNORED:
            del self._folders[number]
            self._watched.pop(folder, None)
            return None
        if not name:
            return None
        path = folder + "/" + name if folder else name
        if mask & _CREATE and not mask & _ISDIR and not self._is_complete(path):
            return None
        return path

    def _is_complete(self, path: str) -> bool:
        """Return whether a new file has its contents at once: a link of either kind."""
        try:
            found = os.lstat(self._root + "/" + path)
        except OSError:
            return False
        return stat.S_ISLNK(found.st_mode) or found.st_nlink > 1
