"""One file on its way to a bucket: read once, counted and digested as it goes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from perdure.errors import PerdureError
from perdure.hosts.progress import Progress
from perdure.moving.bucket import asking
from perdure.moving.known import Stamp
from perdure.moving.shelf import Shelf

# Larger files go in parts of so many bytes, several of them side by side.
PART_BYTES = 8 << 20
PARTS_AT_ONCE = 6
_CHUNK = 1 << 20


class Upload:
    """A file that is open: `before` is its size and time at the beginning.

    Raises:
        FileNotFoundError, PermissionError: it cannot be opened.
    """

    def __init__(self, file: Path, progress: Progress, stopping: threading.Event) -> None:
        import xxhash

        self._file = file.open("rb")
        self._progress = progress
        self._stopping = stopping
        self._digest = xxhash.xxh3_128()
        self.bytes = 0
        self.before = self._stamp()

    def __enter__(self) -> Upload:
        """Return it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.is_steady = self._stamp() == self.before and self.bytes == self.before[0]
        self._file.close()

    @property
    def digest(self) -> str:
        """Return the digest of what was sent."""
        return self._digest.hexdigest()

    def put(self, shelf: Shelf, key: str) -> str | None:
        """Return the provider's name for what it has now under `key`: all or nothing."""
        import obstore

        with asking(shelf.address, "write"):
            if self.before[0] <= PART_BYTES:
                return obstore.put(shelf.store, key, b"".join(self._pieces()))["e_tag"]
            return obstore.put(
                shelf.store,
                key,
                self._pieces(),
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )["e_tag"]

    def _pieces(self) -> Iterator[bytes]:
        left = self.before[0]
        while left and (data := self._file.read(min(_CHUNK, left))):
            if self._stopping.is_set():
                raise PerdureError("another file could not be sent")
            left -= len(data)
            self.bytes += len(data)
            self._digest.update(data)
            self._progress.add(len(data))
            yield data

    def _stamp(self) -> Stamp:
        found = os.fstat(self._file.fileno())
        return found.st_size, found.st_mtime_ns
