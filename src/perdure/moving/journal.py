"""What a broken push or pull had done, line by line, so that the next one goes on from there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

Value = str | int | None


class Journal:
    """A file of JSON lines that is only appended to. A torn last line is passed over."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._fd = -1

    def __enter__(self) -> Journal:
        """Open it for appending. Touches the disk."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self._file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            os.write(self._fd, b"\n")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it; it stays."""
        os.close(self._fd)

    def add(self, *values: Value) -> None:
        """Append a line; in one write, so that lines of several threads stay whole."""
        os.write(self._fd, json.dumps(values).encode() + b"\n")

    def lines(self) -> Iterator[list[Value]]:
        """Yield what earlier attempts noted. Reads the disk."""
        try:
            content = self._file.read_bytes()
        except FileNotFoundError:
            return
        for line in content.split(b"\n"):
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, list):
                yield found

    def forget(self) -> None:
        """Delete it: what it was about is done."""
        self._file.unlink(missing_ok=True)
