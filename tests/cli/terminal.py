"""The real command on a real terminal: a pseudo-terminal whose other side is read here."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.cli.command import LIMIT_S, MAIN

CTRL_C = b"\x03"
_READ_BYTES = 1 << 16


class Terminal:
    """A command on a terminal of `columns` places; `text` is all it wrote so far."""

    def __init__(self, words: Sequence[str], cwd: Path, columns: int) -> None:
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen(
            [*MAIN, *words],
            cwd=cwd,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color"},
            # The terminal becomes the session's own: Ctrl-C and hang-up then come from it.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )
        os.close(slave)
        self.text = ""

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the first match of the pattern in what was written, once it is there."""
        deadline = time.monotonic() + LIMIT_S
        while not (found := re.search(pattern, self.text)):
            if time.monotonic() > deadline or not self._read(deadline):
                raise TimeoutError(f"{pattern!r} never came:\n{self.text}")
        return found

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._master, keys)

    def hang_up(self) -> None:
        """Take the terminal away, as closing its window does."""
        os.close(self._master)
        self._master = -1

    def end(self) -> int:
        """Return the exit code of the command once it has ended."""
        deadline = time.monotonic() + LIMIT_S
        while self._master >= 0 and self._read(deadline):
            pass
        return self.process.wait(LIMIT_S)

    def close(self) -> None:
        """End the command if it still runs."""
        if self._master >= 0:
            self.hang_up()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        try:
            data = os.read(self._master, _READ_BYTES) if ready else b""
        except OSError:  # the other side is closed
            return False
        self.text += data.decode(errors="replace")
        return bool(data)


@contextlib.contextmanager
def on_terminal(*words: str, cwd: Path, columns: int = 80) -> Iterator[Terminal]:
    """Give `perdure WORDS...` a terminal."""
    terminal = Terminal(words, cwd, columns)
    try:
        yield terminal
    finally:
        terminal.close()
