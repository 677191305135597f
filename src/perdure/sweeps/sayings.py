"""What a driver says of itself, for whoever asks for its sweep's status."""

from __future__ import annotations

import os
import time

from perdure.sweeps.holding import Holding, Word


class Sayings:
    """Says what is waited for, and behind it what is out of order for longer."""

    def __init__(self, said: Holding) -> None:
        self._said = said
        self._began = time.time()
        self._last = ""
        self._remarks: dict[str, str] = {}

    def say(self, text: str) -> None:
        """Say what is waited for, "" for nothing. Touches the disk where it is something new."""
        text = "; ".join(filter(None, (text, *self._remarks.values())))
        if text != self._last:
            self._last = text
            self._said.say(Word(os.getpid(), self._began, text))

    def remark(self, kind: str, text: str) -> None:
        """Have a remark of a kind stand behind all that is said from now on, "" for none."""
        self._remarks[kind] = text

    def end(self, why: str, over: str) -> None:
        """Say why the driver ends, or which wishes it has met; and let go of the lock."""
        self._said.say(Word(os.getpid(), self._began, why, over))
        self._said.release()
