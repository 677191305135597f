"""Another way to the other side, tried while the one that there is says nothing.

A connection that lay without a network goes on late: TCP waits longer from try to try, up to as
long again as the network was away (RFC 6298, 5.5). One after a change of networks never does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from perdure.errors import HostUnreachable, NoPython, PerdureError
from perdure.sync.channel import Channel

# After this silence another way is looked for; a side that took its time is given more.
_DOUBT_S, _SLOWER = 3.0, 3.0
# Where another way was found and was no better, it was not the network: then later and later.
_MOST_S, _CALM_S = 15.0, 60.0
# How long a try may take, and until the next one.
_TRY_S, _PAUSE_S = 3.0, 0.5
_CONNECT_S = 10.0
_DENIED = "permission denied"


class Spare:
    """The other way; `argv` opens it, None: there is none."""

    def __init__(self, argv: Sequence[str] | None) -> None:
        self._argv = argv
        self._channel: Channel | None = None
        self._until = self._next_at = 0.0
        self._doubt_s = _DOUBT_S
        self._used_at = float("-inf")

    def look(self, channel: Channel) -> Channel | None:
        """Return a channel that was reached while `channel` was silent, to be used in its place.

        Never waits. To be called whenever `due_at` is over, or one of `filenos` can be read.
        """
        now = time.monotonic()
        if now < self._doubted_at(channel):
            self.drop()
        elif self._channel is None:
            if now >= self._next_at:
                self._begin(now)
        elif self._is_reached(self._channel):
            found, self._channel = self._channel, None
            self._used_at, self._doubt_s = now, min(2 * self._doubt_s, _MOST_S)
            return found
        elif now >= self._until:
            self.drop()
        return None

    def due_at(self, channel: Channel) -> float:
        """Return when there is something to do, on the monotonic clock."""
        if self._channel is not None:
            return self._until
        return max(self._doubted_at(channel), self._next_at)

    def filenos(self) -> list[int]:
        """Return what can be read once something is said."""
        return [] if self._channel is None else [self._channel.fileno()]

    def drop(self) -> None:
        """Look no further, for now."""
        if self._channel is not None:
            self._channel.kill()
            self._channel.close()
            self._channel = None
            self._next_at = time.monotonic() + _PAUSE_S

    def _doubted_at(self, channel: Channel) -> float:
        if self._argv is None or channel.asked_at is None:
            return float("inf")
        if time.monotonic() - self._used_at > _CALM_S:
            self._doubt_s = _DOUBT_S
        return channel.asked_at + max(self._doubt_s, _SLOWER * channel.longest_s)

    def _begin(self, now: float) -> None:
        assert self._argv is not None
        self._until = now + _TRY_S
        try:
            self._channel = Channel(self._argv, connect_s=_CONNECT_S)
        except (HostUnreachable, NoPython) as error:
            self._fail(error)
            self._next_at = self._until

    def _is_reached(self, channel: Channel) -> bool:
        try:
            channel.receive(0)
        except (HostUnreachable, NoPython) as error:
            self._until = 0.0
            self._fail(error)
        return channel.is_reached

    def _fail(self, error: PerdureError) -> None:
        """Look no further at all where more than a key is asked for: nobody is there to answer."""
        if _DENIED in error.message.lower():
            self._argv = None
