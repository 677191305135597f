"""Files fetched from a bucket in parts, side by side; what a broken attempt fetched is not again.

A part is written where it belongs with `pwrite`, then noted in a journal. A file gets its time
last, when all of it is there and its digest is the manifest's: the time says that it is whole.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from perdure.errors import StorageError
from perdure.hosts.progress import Progress
from perdure.moving.bucket import asking, is_missing
from perdure.moving.digest import digest_of
from perdure.moving.journal import Journal
from perdure.moving.manifest import Stored, key_of
from perdure.moving.shelf import Shelf
from perdure.moving.walk import entry_at

PART_BYTES = 8 << 20
WORKERS = 8
LOST = "missing in the bucket"


@dataclass(slots=True)
class _File:
    """A file that is being fetched: its parts that are not here yet."""

    path: str
    stored: Stored
    left: set[int]
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(slots=True)
class Fetch:
    """Fetches files of a shelf into a staging folder; `lost` are those that the bucket lacks."""

    shelf: Shelf
    staging: Path
    progress: Progress
    sent: int = 0
    lost: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def all(self, files: Mapping[str, Stored], journal: Journal) -> None:
        """Fetch what is not whole yet.

        Raises:
            StorageError: what came is not what the manifest says, or the disk is full.
            HostUnreachable: the bucket does not answer; what came is kept.
        """
        done = _noted(journal)
        with ThreadPoolExecutor(WORKERS) as pool:
            tasks = []
            for path, stored in sorted(files.items()):
                file = self._begin(path, stored, done)
                if file is not None:
                    tasks += [
                        pool.submit(self._part, file, number, journal)
                        for number in sorted(file.left)
                    ]
            try:
                for task in tasks:
                    task.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _begin(
        self, path: str, stored: Stored, done: Mapping[tuple[str, str], set[int]]
    ) -> _File | None:
        """Return the file with the parts that it lacks, None where it is whole."""
        target = self.staging / path
        found = entry_at(target)
        if found is not None and found.stamp == (stored.size, stored.mtime_ns):
            self.progress.add(stored.size)
            return None
        count = max(1, -(-stored.size // PART_BYTES))
        had = done.get((path, stored.digest), set())
        if found is None or found.size != stored.size:
            had = set()
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                file.truncate(stored.size)
        self.progress.add(min(stored.size, len(had) * PART_BYTES))
        # One at least, so that somebody looks at the whole when the last was noted.
        left = set(range(count)) - had or {count - 1}
        return _File(path, stored, left)

    def _part(self, file: _File, number: int, journal: Journal) -> None:
        if file.path in self.lost:
            return
        data = self._get(file, number)
        if data is None:
            with self._lock:
                self.lost.add(file.path)
            return
        fd = os.open(self.staging / file.path, os.O_WRONLY)
        try:
            if os.pwrite(fd, data, number * PART_BYTES) != len(data):
                raise StorageError(f"cannot write `{self.staging / file.path}`: disk full")
        finally:
            os.close(fd)
        journal.add(file.path, file.stored.digest, number)
        with self._lock:
            self.sent += len(data)
        self.progress.add(len(data))
        with file.lock:
            file.left.discard(number)
            is_last = not file.left
        if is_last:
            self._finish(file, journal)

    def _get(self, file: _File, number: int) -> bytes | None:
        import obstore

        start = number * PART_BYTES
        length = min(PART_BYTES, file.stored.size - start)
        if not length:
            return b""
        key = key_of(self.shelf.word, file.path)
        with asking(self.shelf.address, "read"):
            try:
                return bytes(obstore.get_range(self.shelf.store, key, start=start, length=length))
            except FileNotFoundError as error:
                if not is_missing(error):
                    raise
                return None

    def _finish(self, file: _File, journal: Journal) -> None:
        target, stored = self.staging / file.path, file.stored
        if digest_of(target) != stored.digest:
            target.unlink()
            journal.add(file.path, stored.digest, None)
            raise StorageError(
                f"`{file.path}` in `{self.shelf.where}` is not what its manifest says",
                hint=f"perdure push {self.shelf.word} --on {self.shelf.address}, where it is whole",
            )
        target.chmod(stored.mode & 0o777)
        os.utime(target, ns=(stored.mtime_ns, stored.mtime_ns))


def _noted(journal: Journal) -> dict[tuple[str, str], set[int]]:
    """Return the parts that earlier attempts noted, by path and digest."""
    done: dict[tuple[str, str], set[int]] = {}
    for line in journal.lines():
        if len(line) != 3:
            continue
        parts = done.setdefault((str(line[0]), str(line[1])), set())
        if isinstance(line[2], int):
            parts.add(line[2])
        else:
            parts.clear()
    return done
