"""Whether the disk has room for another trial: where it has none, a sweep waits and says so."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

# A run folder takes less; a training that has not even this fails for want of it.
LEAST_BYTES = 256 * 1024
#: What is said where there is none.
FULL = "no space left"
_AGAIN_S = 1.0
# Rights pass, too: a ticket of the network's file system that ran out is had anew.
_PASSING = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOENT),
        *(errno.EACCES, errno.EPERM),
    }
)


class Room:
    """The room below a folder. `problem` says why there is none, "" where there is."""

    def __init__(self, folder: Path, *, now: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._now = now
        self._again = 0.0
        self.problem = ""

    def there(self) -> bool:
        """Return whether another trial can be begun. Asks the disk."""
        if self._now() < self._again:
            return False
        try:
            # Nothing has run yet where there is no such folder.
            where = self._folder if self._folder.is_dir() else self._folder.parent
            found = os.statvfs(where)
        except OSError as error:
            self.refused(error)
            return False
        full = found.f_bavail * found.f_frsize < LEAST_BYTES
        if full or (found.f_files and not found.f_favail):
            self.problem = f"{FULL} on the disk of `{self._folder}`"
            return False
        self.problem = ""
        return True

    def refused(self, error: OSError) -> None:
        """Take in what the disk refused; for a moment nothing is tried.

        Raises:
            OSError: the same, where waiting does not help.
        """
        if error.errno not in _PASSING:
            raise error
        self.problem = f"`{self._folder}`: {(error.strerror or str(error)).lower()}"
        self._again = self._now() + _AGAIN_S
