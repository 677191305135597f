"""What the supervisor itself has to say, on standard error.

Written to the descriptor: a buffer that cannot be flushed would change the exit code at the end.
"""

from __future__ import annotations

import os

_STANDARD_ERROR = 2


def tell(text: str) -> None:
    """Write a line; a standard error that is full or gone is no reason to stop."""
    try:
        os.write(_STANDARD_ERROR, f"perdure: {text}\n".encode(errors="backslashreplace"))
    except OSError:
        pass


class Complaint:
    """Tells the first thing that is wrong, and only that."""

    def __init__(self) -> None:
        self._said = False

    def say(self, text: str) -> None:
        """Write a line, the first time."""
        if not self._said:
            self._said = True
            tell(text)
