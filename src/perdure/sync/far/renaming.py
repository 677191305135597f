"""Renaming without overwriting, and swapping two files: what rename(2) alone cannot do.

Linux has both in one call (renameat2(2), since 3.15). Elsewhere, and on file systems that do not
know it, links do nearly as well: between two calls somebody's rename may go unseen.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from typing import Any, Optional

_NOREPLACE, _EXCHANGE = 1, 2
_UNKNOWN = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM})


def _find() -> Optional[Any]:  # noqa: ANN401 - a function of the C library
    try:
        return ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return None


_renameat2 = _find()


def rename_new(source: str, target: str, folder: int, into: int) -> None:
    """Rename `source` in the one folder to `target` in the other, where nothing may be.

    Raises:
        FileExistsError: something is there.
        OSError: otherwise as rename(2).
    """
    if _call(source, target, folder, into, _NOREPLACE):
        return
    if stat.S_ISDIR(os.stat(source, dir_fd=folder, follow_symlinks=False).st_mode):
        # Folders cannot be linked; one that has something in it is not replaced.
        os.rename(source, target, src_dir_fd=folder, dst_dir_fd=into)
        return
    os.link(source, target, src_dir_fd=folder, dst_dir_fd=into, follow_symlinks=False)
    os.unlink(source, dir_fd=folder)


def swap(one: str, other: str, folder: int) -> None:
    """Let two names in a folder change places.

    Raises:
        OSError: as rename(2).
    """
    if _call(one, other, folder, folder, _EXCHANGE):
        return
    third = one + ".swap"
    os.link(other, third, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    os.replace(one, other, src_dir_fd=folder, dst_dir_fd=folder)
    os.rename(third, one, src_dir_fd=folder, dst_dir_fd=folder)


def _call(source: str, target: str, folder: int, into: int, flags: int) -> bool:
    """Return whether the kernel did it; False where it does not know how."""
    if _renameat2 is None:
        return False
    if _renameat2(folder, os.fsencode(source), into, os.fsencode(target), flags) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNKNOWN:
        return False
    raise OSError(number, os.strerror(number), target)
