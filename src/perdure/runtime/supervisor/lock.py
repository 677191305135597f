"""The lock of a run folder: held while a supervisor lives, freed by the kernel however it dies."""

from __future__ import annotations

import errno
import fcntl
import os

from perdure.runtime import names

# What file systems without flock answer (NFS without a lock daemon, some FUSE and parallel ones).
_LACKING = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


class AlreadyRunning(RuntimeError):
    """Another supervisor holds the run folder."""


class Lock:
    """An open lock file; `problem` says why it could not be locked, None where it was."""

    def __init__(self, fd: int, problem: str | None) -> None:
        self.fd = fd
        self.problem = problem

    def release(self) -> None:
        """Give the lock back."""
        os.close(self.fd)


def take(run_dir: str, *, regardless: bool = False) -> Lock:
    """Return the lock of the run folder, taken without waiting. Touches the disk.

    `regardless` of another process that holds it: it is on a node that its scheduler has given up,
    and the generation that is claimed next fences it.

    Raises:
        AlreadyRunning: another process holds it.
        OSError: the lock file cannot be opened.
    """
    fd = os.open(os.path.join(run_dir, names.LOCK_FILE), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if regardless:
            return Lock(fd, "an earlier attempt still runs on another node; it is fenced")
        os.close(fd)
        raise AlreadyRunning(f"already running: another supervisor holds `{run_dir}`") from None
    except OSError as error:
        if error.errno not in _LACKING:
            os.close(fd)
            raise
        reason = error.strerror or str(error)
        return Lock(
            fd,
            f"this file system cannot lock files ({reason}): a second supervisor would not be "
            "noticed; only generations keep two attempts apart",
        )
    return Lock(fd, None)
