"""Standard input and output as frames. It gives up when nothing was heard for too long."""

from __future__ import annotations

import os
import select
import time
from collections import deque
from typing import Deque, List, Optional

from perdure.sync.far.frames import MAGIC, Assembler, Frame, Header, pack

# The near side says something every few seconds: a connection this silent is a dead one.
SILENCE_S = 120.0
# And so does this one while it is at work: whoever waits for it can tell work from a dead network.
BUSY_S = 0.5
_READ_BYTES = 1 << 18


class Pipe:
    """Frames in both directions over two descriptors."""

    def __init__(self, source: int, sink: int) -> None:
        self._source = source
        self._sink = sink
        self._assembler = Assembler(awaits_magic=False)
        # One place for all that comes: fresh memory for each piece would take longer than the rest.
        self._taken_in = memoryview(bytearray(_READ_BYTES))
        self._frames: Deque[Frame] = deque()
        self._heard = self._said = self._taken = time.monotonic()
        # A descriptor that something else is told by, if there is one.
        self.beside: Optional[int] = None

    def greet(self) -> None:
        """Write what comes before the first frame."""
        self._write(MAGIC)

    def read(self, until: float) -> Optional[Frame]:
        """Return the next frame; None if none has come by `until` (on the monotonic clock).

        None as well if there is something to be read from `beside`.

        Raises:
            EOFError: there will be none any more.
        """
        while not self._frames:
            now = time.monotonic()
            if now - self._heard > SILENCE_S:
                raise EOFError("nothing was heard for too long")
            limit = min(until, self._heard + SILENCE_S) - now
            waited = [self._source] if self.beside is None else [self._source, self.beside]
            ready = select.select(waited, [], [], max(0.0, limit))[0]
            if self._source not in ready:
                if ready or time.monotonic() >= until:
                    return None
                continue
            self._frames.extend(self._take_in())
            self._heard = time.monotonic()
            if not self._frames:
                self.tick()
        self._taken = time.monotonic()
        return self._frames.popleft()

    def _take_in(self) -> List[Frame]:
        """Return the frames that are complete with what has come, contents where they will stay."""
        room = self._assembler.room
        count = os.readv(self._source, [room, self._taken_in])
        if not count:
            raise EOFError("the near side is gone")
        within = min(count, len(room))
        frames = self._assembler.filled(within) if within else []
        return frames + self._assembler.feed(self._taken_in[: count - within])

    def tick(self) -> None:
        """Say that something is being done, if nothing was said for a while."""
        if time.monotonic() - max(self._said, self._taken) > BUSY_S:
            self.write({"op": "busy"})

    def write(self, header: Header, blob: bytes = b"") -> None:
        """Write a frame, all of it."""
        self._write(pack(header, blob))

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self._sink, left) :]
        self._said = time.monotonic()
