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
        StorageError: it cannot be made anywhere, or where it belongs is somebody else's.
    """
    problem = None
    for folder in _candidates():
        try:
            return _made(folder)
        except OSError as error:
            problem = problem or StorageError(
                f"cannot make the folder `{folder}` for connections: "
                f"{(error.strerror or str(error)).lower()}"
            )
    raise problem or StorageError("there is no place for the sockets of connections")


def _made(folder: Path) -> Path:
    if not folder.is_dir():
        # ssh wants its folder to be private, too.
        folder.parent.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
    if found.st_uid != os.getuid() or not private:
        raise StorageError(
            f"`{folder}` is not a private folder of this user", hint=f"rm -r {folder}"
        )
    return folder


def _candidates() -> Iterator[Path]:
    runtime, home = os.environ.get("XDG_RUNTIME_DIR", ""), os.path.expanduser("~/.ssh")  # noqa: PTH111 - may stay as it is
    # Somebody else's after `su`, which leaves the variable as it was.
    if runtime.startswith("/") and os.access(runtime, os.W_OK | os.X_OK):
        yield from _short(Path(runtime, "perdure"))
    if home.startswith("/"):
        yield from _short(Path(home, "perdure"))
    import tempfile

    yield from _short(Path(tempfile.gettempdir()) / f"perdure-{os.getuid()}")
    yield Path("/tmp") / f"perdure-{os.getuid()}"  # noqa: S108 - owner and mode are checked


def _short(folder: Path) -> Iterator[Path]:
    if len(os.fsencode(folder)) <= _LONGEST:
        yield folder
