"""The line at the foot of a terminal that says what is going on, and is gone when it is done."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TextIO

from perdure.cli.words import duration, printable

Clock = Callable[[], float]

ERASE = "\r\x1b[K"
BAR_PLACES = 20
COLUMNS = 80
REDRAW_S = 0.5
# Work shorter than this shows no clock, and longer work is told again this often elsewhere.
QUIET_S = 2.0
TELL_S = 10.0


class ProgressLine:
    """One line on a terminal, redrawn in place. Safe to use from several threads."""

    def __init__(self, stream: TextIO, clock: Clock = time.monotonic) -> None:
        self.lock = threading.RLock()
        self._stream = stream
        self._clock = clock
        self._since = 0.0
        self._text = ""
        self._drawn = False
        self._ticker: threading.Thread | None = None
        self._closing = threading.Event()

    def show(self, text: str) -> None:
        """Draw the text, and keep its clock running until it is replaced or cleared."""
        with self.lock:
            if text != self._text:
                self._since = self._clock()
            self._text = text
            self.draw()
        if self._ticker is None:
            self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)
            self._ticker.start()

    def hold(self, text: str) -> None:
        """Draw the text as it is: it carries its own clock, and its owner draws it again."""
        with self.lock:
            self._text = ""
            self._write(ERASE + fitting(text, self._places()))
            self._drawn = True

    def draw(self) -> None:
        """Draw what was last shown."""
        elapsed = self._clock() - self._since
        clock = f"  {duration(elapsed)}" if elapsed >= QUIET_S else ""
        room = self._places() - len(clock)
        self._write(ERASE + fitting(self._text, room) + clock)
        self._drawn = True

    def clear(self) -> None:
        """Erase the line; nothing is drawn again before the next `show`."""
        with self.lock:
            if self._drawn:
                self._write(ERASE)
            self._drawn = False
            self._text = ""

    def close(self) -> None:
        """Erase the line and stop its clock."""
        self._closing.set()
        self.clear()

    def _tick(self) -> None:
        while not self._closing.wait(REDRAW_S):
            with self.lock:
                if self._text:
                    self.draw()

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            pass  # the terminal is gone; the work goes on

    def _places(self) -> int:
        # One less than the width: a full line would wrap on some terminals.
        return max(10, terminal_width(self._stream) - 1)


def terminal_width(stream: TextIO) -> int:
    """Return the width of the terminal, else what COLUMNS says, else 80."""
    # Not by shutil, which would bring in every compression there is.
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        columns = 0
    said = os.environ.get("COLUMNS", "")
    return columns or (int(said) if said.isdecimal() else 0) or COLUMNS


def fitting(text: str, places: int) -> str:
    """Return the text as it may be shown, no wider than that."""
    # Tables take longest to import of all that a command with nothing to do needs.
    from perdure.cli.table import shorten

    return shorten(printable(text), places)


def bar(done: int, total: int) -> str:
    """Return a bar with its numbers: `━━━━━━━━╺───────────  8/20`."""
    filled = BAR_PLACES * min(done, total) // total if total > 0 else 0
    return "━" * filled + "─" * (BAR_PLACES - filled) + f"  {done}/{total}"


class Teller:
    """A Report for outputs that are no terminal: each message once, counts now and then."""

    def __init__(self, say: Callable[[str], None], clock: Clock = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._message = ""
        self._told_at = 0.0

    def __call__(self, message: str, *, done: int | None = None, total: int | None = None) -> None:
        """Tell a new message at once, the counts of an old one every few seconds and at its end."""
        now = self._clock()
        ended = done is not None and done == total
        if message == self._message and not ended and now - self._told_at < TELL_S:
            return
        if message == self._message and done is None:
            return
        self._message, self._told_at = message, now
        self._say(message if done is None or not total else f"{message} {done}/{total}")
