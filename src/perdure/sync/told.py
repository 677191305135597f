"""What a session in the background told: kept for whoever asks later."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path


class Told:
    """What a session told, the last of it: in a file, and for whoever asks."""

    def __init__(self, file: Path, most: int = 200) -> None:
        self._file = file
        self._lines: deque[str] = deque(maxlen=most)

    def __call__(self, message: str) -> None:
        """Take a message in."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._lines.append(f"{stamp} {message}")
        try:
            with self._file.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(self._lines[-1] + "\n")
        except OSError:
            return

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._lines))
