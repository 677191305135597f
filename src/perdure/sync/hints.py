"""Word that something here may have changed. Only a hint: what is true, a scan finds."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

_STEP_MS, _DEBOUNCE_MS = 5, 50
_LIMIT_MS = 5000


class Hints(Protocol):
    """What tells of changes; see `perdure.sync.far.inotify.Inotify` for the words."""

    is_short: bool

    def fileno(self) -> int:
        """Return the descriptor that is readable when something changed."""

    def watch(self, folders: Iterable[str]) -> list[str]:
        """Watch these folders and no others; return those that were not watched before."""

    def read(self) -> set[str] | None:
        """Return the paths that changed; None: too many to tell."""

    def close(self) -> None:
        """Watch nothing any more."""


def watch_tree(root: Path) -> Hints:
    """Return what tells of changes below `root`: Linux itself, else watchfiles, else nobody."""
    try:
        return _from_linux(root) if sys.platform == "linux" else Watchfiles(root)
    except (OSError, ImportError):
        return Silent()


def _from_linux(root: Path) -> Hints:
    from perdure.sync.far.inotify import Inotify

    return Inotify(str(root))


class Silent:
    """Nobody tells: all is found by looking."""

    is_short = True

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()

    def fileno(self) -> int:
        """Return a descriptor that is never readable."""
        return self._reader

    def watch(self, folders: Iterable[str]) -> list[str]:  # noqa: ARG002 - as Hints has it
        """Return that nothing new is watched."""
        return []

    def read(self) -> set[str] | None:
        """Return that nothing was told."""
        return set()

    def close(self) -> None:
        """Close the descriptors."""
        os.close(self._reader)
        os.close(self._writer)


class Watchfiles:
    """The whole tree by watchfiles, which knows what other systems have. A thread waits for it."""

    is_short = False

    def __init__(self, root: Path) -> None:
        import watchfiles

        self._root = root
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._found: set[str] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        changes = watchfiles.watch(
            root,
            watch_filter=None,
            step=_STEP_MS,
            debounce=_DEBOUNCE_MS,
            rust_timeout=_LIMIT_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
            stop_event=self._stop,
        )

        def collect() -> None:
            for batch in changes:
                if batch:
                    with self._lock:
                        self._found.update(os.path.relpath(path, root) for _, path in batch)
                    os.write(self._writer, b"\0")

        self._thread = threading.Thread(target=collect, name="watchfiles", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Return the descriptor that is readable when something changed."""
        return self._reader

    def watch(self, folders: Iterable[str]) -> list[str]:  # noqa: ARG002 - as Hints has it
        """Return that nothing new is watched: all of the tree is."""
        return []

    def read(self) -> set[str] | None:
        """Return the paths that changed."""
        try:
            os.read(self._reader, 1 << 16)
        except BlockingIOError:
            pass
        with self._lock:
            found, self._found = self._found, set()
        return found

    def close(self) -> None:
        """Watch nothing any more."""
        self._stop.set()
        self._thread.join(_LIMIT_MS / 1000)
        os.close(self._reader)
        os.close(self._writer)
