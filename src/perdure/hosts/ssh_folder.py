"""Where the sockets of shared connections lie: a private folder, with a short name.

A unix socket's path has 107 bytes at most (Linux; 103 on macOS), of which ssh takes 57 for its own.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from perdure.errors import StorageError

_LONGEST = 44


def control_folder() -> Path:
    """Return the folder, made if need be; only this user can enter it. Touches the disk.

    Raises:
        StorageError: it cannot be made, or it is somebody else's.
    """
    folder = next(each for each in _candidates() if len(os.fspath(each)) <= _LONGEST)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise StorageError(
            f"cannot make the folder `{folder}` for connections: {(error.strerror or '').lower()}"
        ) from error
    private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
    if found.st_uid != os.getuid() or not private:
        raise StorageError(
            f"`{folder}` is not a private folder of this user", hint=f"rm -r {folder}"
        )
    return folder


def _candidates() -> Iterator[Path]:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/") and Path(runtime).is_dir():
        yield Path(runtime, "perdure")
    yield Path("~/.ssh").expanduser() / "perdure"
    import tempfile

    yield Path(tempfile.gettempdir()) / f"perdure-{os.getuid()}"
    yield Path("/tmp") / f"perdure-{os.getuid()}"  # noqa: S108 - owner and mode are checked
