"""Two trees and a sync between them, driven step by step: what a test waits for is counted."""

from __future__ import annotations

import sys
from pathlib import Path

from perdure.errors import HostUnreachable
from perdure.sync.channel import Channel, boot_words
from perdure.sync.exchange import Exchange, new_mark
from perdure.sync.rules import Rules
from perdure.sync.state import State
from perdure.sync.trees import Trees

PYTHON = sys.executable
RULES = Rules(deletes_much=True)
STEP_S = 120.0


class Pair:
    """`here` and `there`, below one folder. `told` is what the sync told its user."""

    def __init__(self, folder: Path, rules: Rules = RULES, python: str = PYTHON) -> None:
        self.here, self.there = folder / "here", folder / "there"
        self.here.mkdir(parents=True, exist_ok=True)
        self.told: list[str] = []
        self.connections = 0
        self._state = folder / "state" / "state.db"
        self._rules = rules
        self._python = python
        self.trees = self._make_trees()
        self.exchange = Exchange(self.trees)
        self.channel: Channel | None = None

    def connect(self) -> None:
        """Begin a session. `settle` waits until both sides are compared."""
        self.connections += 1
        mark = new_mark()
        self.channel = Channel(boot_words(self._python))
        self.exchange.begin(self.channel, str(self.there), mark)

    def disconnect(self, *, killed: bool = False) -> None:
        """End the session; `killed`: as a lost network does."""
        if self.channel is not None:
            if killed:
                self.channel.kill()
            self.exchange.end()
            self.channel.close()
            self.channel = None

    def die(self) -> None:
        """Go on as a new process after this one was killed: nothing is written any more."""
        if self.channel is not None:
            self.channel.kill()
            self.channel.close()
            self.channel = None
        self.trees.state._database.close()
        self.trees.ground.close()
        self.trees = self._make_trees()
        self.exchange = Exchange(self.trees)

    def settle(self, *, frames: int | None = None) -> bool:
        """Bring both sides together; `frames`: the connection is cut after so many messages.

        It is cut with everything on its way that there is to say by then. Return whether it came to
        its end.
        """
        if self.channel is None:
            self.connect()
        else:
            self.exchange.rescan()
        number = None
        try:
            while True:
                if number is None and self.exchange.is_ready:
                    number = self.exchange.look_there()
                if number and self.exchange.has_looked(number) and self.exchange.is_idle:
                    break
                assert self.channel is not None
                frame = self.channel.receive(STEP_S)
                assert frame is not None, "the agent says nothing"
                self.exchange.handle(*frame)
                self.exchange.go_on()
                if frames is not None:
                    frames -= 1
                    if frames < 0:
                        self.disconnect(killed=True)
                        return False
        except HostUnreachable:
            self.disconnect(killed=True)
            raise
        self.trees.state.flush()
        return True

    def close(self) -> None:
        """End everything."""
        self.disconnect()
        self.trees.close()

    def _make_trees(self) -> Trees:
        return Trees(self.here, State(self._state), self._rules, new_mark(), self.told.append)
