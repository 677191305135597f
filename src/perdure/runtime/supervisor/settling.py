"""Run folders made durable some seconds late, for many jobs at once.

A claim that the disk may still forget needs a claimant who does not rely on it: whatever a lost
claim's attempt left behind, which may be durable before the claim is, counts as one.
"""

from __future__ import annotations

import ctypes
import json
import os
import threading
from typing import Dict, List

from perdure.runtime import generation, names

EVERY_S = 2.0
# More folders than this are not synced one by one, but with all that their disk has.
_FEW = 8
# A word of this process's command line.
_OWN = "perdure.sweeps.program"
_LEAVINGS = (names.ATTEMPTS, names.LOGS, names.METRICS)


class Claims:
    """Claims generations for one process. All of them say the same, and are links to one file.

    To make a link is as exclusive as to make a file, and takes a fifth of the time.
    """

    def __init__(self) -> None:
        # What is looked for in the command of a process with this id: see `targets.presence`.
        known = {"pid": os.getpid(), "host": os.uname().nodename, "command": _OWN}
        self._note = json.dumps(known).encode()
        self._first = ""

    def claim_first(self, run_dir: str) -> int:
        """Claim the first generation of a run folder in which nothing was yet, and return 1.

        Raises:
            FileExistsError: somebody was quicker.
            OSError: the disk refuses.
        """
        self._make(os.path.join(run_dir, f"{names.GENERATION_PREFIX}{1:06d}"))
        return 1

    def claim(self, run_dir: str) -> int:
        """Claim the next generation and return its number; it is not durable yet.

        Raises:
            OSError: the disk refuses.
        """
        held = os.listdir(run_dir)
        number = max(generation.newest_of(held), _left_behind(run_dir, held)) + 1
        while True:
            path = os.path.join(run_dir, f"{names.GENERATION_PREFIX}{number:06d}")
            try:
                self._make(path)
            except FileExistsError:
                number += 1
            else:
                return number

    def _make(self, path: str) -> None:
        if self._first:
            try:
                os.link(self._first, path)
                return
            except FileExistsError:
                raise
            except OSError:
                pass  # it is gone, has too many links, or is on another disk
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        try:
            os.write(fd, self._note)
        finally:
            os.close(fd)
        self._first = path


def _left_behind(run_dir: str, held: List[str]) -> int:
    """Return the highest generation that left something, 0 where none did."""
    newest = 0
    for folder in _LEAVINGS:
        if folder in held:
            for name in os.listdir(os.path.join(run_dir, folder)):
                stem = name.partition(".")[0]
                newest = max(newest, int(stem) if stem.isdigit() else 0)
    if names.CHECKPOINTS in held:
        for name in os.listdir(os.path.join(run_dir, names.CHECKPOINTS)):
            stem = name[1:].partition("-")[0]
            newest = max(newest, int(stem) if name[0] == "g" and stem.isdigit() else 0)
    return newest


class Settling:
    """Makes run folders durable, in a thread of its own. A disk that refuses is tried no more."""

    def __init__(self) -> None:
        self._waiting: Dict[str, None] = {}
        self._guard = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="settling", daemon=True)
        self._thread.start()

    def add(self, run_dir: str) -> None:
        """Have a folder made durable soon."""
        with self._guard:
            self._waiting[run_dir] = None

    def close(self) -> None:
        """Make all durable and return."""
        self._closing.set()
        self._thread.join()
        self._settle()

    def _run(self) -> None:
        while not self._closing.wait(EVERY_S):
            self._settle()

    def _settle(self) -> None:
        with self._guard:
            waiting, self._waiting = list(self._waiting), {}
        if len(waiting) > _FEW and _sync_disk(waiting[0]):
            return
        for folder in waiting:
            _sync_tree(folder)


def _sync_disk(path: str) -> bool:
    """Return whether all that the file system of `path` holds was made durable."""
    try:
        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
        fd = os.open(path, os.O_RDONLY)
    except (AttributeError, OSError):
        return False
    try:
        return int(syncfs(fd)) == 0
    finally:
        os.close(fd)


def _sync_tree(run_dir: str) -> None:
    """Make what a supervisor wrote durable; checkpoints and metrics are the training's affair."""
    for folder in (os.path.join(run_dir, names.ATTEMPTS), run_dir):
        try:
            for entry in os.scandir(folder):
                if entry.is_file(follow_symlinks=False):
                    _sync_file(entry.path)
            generation.sync_folder(folder)
        except OSError:
            continue


def _sync_file(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
