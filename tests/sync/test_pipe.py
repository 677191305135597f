"""The far end's words: it says that it is at work, so that silence is a dead network."""

from __future__ import annotations

import os
import time

import pytest

from perdure.sync.far import pipe
from perdure.sync.far.frames import Assembler, pack
from perdure.sync.far.pipe import Pipe


class Ends:
    """A pipe of an agent's, and the near ends of it."""

    def __init__(self) -> None:
        (source, self.give), (self.take, sink) = os.pipe(), os.pipe()
        self.pipe = Pipe(source, sink)

    def feed(self, data: bytes) -> object:
        """Return what the agent takes for a frame once these bytes have come."""
        os.write(self.give, data)
        return self.pipe.read(time.monotonic())

    def said(self) -> list[str]:
        self.pipe.write({"op": "end"})
        frames = Assembler(awaits_magic=False).feed(os.read(self.take, 1 << 16))
        return [str(header["op"]) for header, _ in frames]


def test_who_takes_in_a_long_message_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pack({"op": "part"}, b"x" * 100)
    ends = Ends()
    monkeypatch.setattr(pipe, "BUSY_S", 600.0)
    assert ends.feed(frame[:50]) is None
    assert ends.said() == ["end"], "it was quick"
    monkeypatch.setattr(pipe, "BUSY_S", -1.0)
    assert ends.feed(frame[50:60]) is None
    assert ends.feed(frame[60:]) is not None
    assert ends.said() == ["busy", "end"]
    ends.pipe.tick()
    assert ends.said() == ["busy", "end"]
