"""Other ways to the other side, tried while the one that there is says nothing.

A connection that lay without a network goes on late: TCP waits longer from try to try, up to as
long again as the network was away (RFC 6298, 5.5); so does one that is being made meanwhile. One
after a change of networks never does. So a new way is begun every second, a few at a time, and the
first one to be reached is used ("happy eyeballs", RFC 8305).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from perdure.errors import HostUnreachable, NoPython, PerdureError
from perdure.sync.channel import Channel

# After this silence other ways are looked for; a side that took its time is given more.
_DOUBT_S = 1.5
# Where one was reached at once, and was no better, it was not the network: then later and later.
_MOST_S, _CALM_S = 15.0, 60.0
# How long each may take: at least, and so many times what reaching the other side takes.
_TRY_S, _SLOWER = 3.0, 4.0
# A side that was not reached yet may be slow to let anybody in: nobody knocks there in haste.
_STRANGE_DOUBT_S, _STRANGE_TRY_S = 2.0, 10.0
# From one to the next, as above; later where so many were begun in vain.
_NEXT_S, _LONGER, _LATER_S, _EAGER = 1.0, 1.5, 4.0, 15
_MOST_AT_ONCE = 3
_CONNECT_S = 60.0
_DENIED = "permission denied"


@dataclass(frozen=True, slots=True)
class _Try:
    """A way that was begun, and until when it may take to get there."""

    channel: Channel
    began: float
    until: float


class Spare:
    """The other ways; `argv` opens one, None: there is none."""

    def __init__(self, argv: Sequence[str] | None) -> None:
        self._argv = argv
        self._tries: list[_Try] = []
        self._begun = self._in_vain = 0
        self._next_at = 0.0
        self._doubt_s = _DOUBT_S
        self._used_at = float("-inf")
        self._took_s = 0.0

    @property
    def exists(self) -> bool:
        """Return whether there is another way."""
        return self._argv is not None

    def note(self, took_s: float) -> None:
        """Know that the other side was reached in so long, which some network may have delayed."""
        self._took_s = min(took_s, self._took_s or took_s)

    def look(self, channel: Channel | None) -> Channel | None:
        """Return a channel that was reached while `channel` was silent, to be used in its place.

        None: there is none just now, and no other one is begun. Never waits. To be called whenever
        `due_at` is over, or one of `filenos` can be read.
        """
        now = time.monotonic()
        doubted = now >= self._doubted_at(channel)
        if channel is not None and channel.is_reached and not doubted:
            self.drop()
            self._in_vain = 0
            return None
        for each in list(self._tries):
            if self._is_reached(each, now):
                self._use(each, now, channel)
                return each.channel
        has_room = self.exists and len(self._tries) < _MOST_AT_ONCE
        if doubted and has_room and now >= self._next_at:
            self._begin(now)
        return None

    def due_at(self, channel: Channel | None) -> float:
        """Return when there is something to do, on the monotonic clock."""
        times = [each.until for each in self._tries]
        if len(self._tries) < _MOST_AT_ONCE:
            times.append(max(self._doubted_at(channel), self._next_at))
        return min(times)

    def filenos(self) -> list[int]:
        """Return what can be read once something is said."""
        return [each.channel.fileno() for each in self._tries]

    def drop(self) -> None:
        """Look no further, for now."""
        self._begun = 0
        while self._tries:
            _end(self._tries.pop())

    def _use(self, found: _Try, now: float, instead: Channel | None) -> None:
        at_once = self._begun == 1 and instead is not None and instead.is_reached
        self._doubt_s = min(2 * self._doubt_s, _MOST_S) if at_once else _DOUBT_S
        self._tries.remove(found)
        self.drop()
        self.note(now - found.began)
        self._used_at, self._in_vain, self._next_at = now, 0, now

    def _doubted_at(self, channel: Channel | None) -> float:
        if self._argv is None or channel is None or channel.asked_at is None:
            return float("inf")
        if time.monotonic() - self._used_at > _CALM_S:
            self._doubt_s = _DOUBT_S
        usual_s = channel.usual_s if channel.is_reached else self._took_s or _STRANGE_DOUBT_S
        return channel.asked_at + max(self._doubt_s, usual_s)

    def _begin(self, now: float) -> None:
        assert self._argv is not None
        self._begun += 1
        self._in_vain += 1
        pause_s = _NEXT_S if self._in_vain < _EAGER else _LATER_S
        self._next_at = now + max(pause_s, _LONGER * self._took_s)
        until = now + (max(_TRY_S, _SLOWER * self._took_s) if self._took_s else _STRANGE_TRY_S)
        try:
            self._tries.append(_Try(Channel(self._argv, connect_s=_CONNECT_S), now, until))
        except (HostUnreachable, NoPython) as error:
            self._fail(error)

    def _is_reached(self, each: _Try, now: float) -> bool:
        """Return whether somebody answers there; what fails, or takes too long, is ended."""
        try:
            each.channel.receive(0)
        except (HostUnreachable, NoPython) as error:
            self._fail(error)
        else:
            if each.channel.is_reached or now < each.until:
                return each.channel.is_reached
        self._tries.remove(each)
        _end(each)
        return False

    def _fail(self, error: PerdureError) -> None:
        """Look no further at all where more than a key is asked for: nobody is there to answer."""
        if _DENIED in error.message.lower():
            self._argv = None


def _end(each: _Try) -> None:
    each.channel.kill()
    each.channel.close()
