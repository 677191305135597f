"""A tree kept as it is here while somebody wants it: hints, looks, and new connections."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass

from perdure.errors import HostUnreachable, NoPython, PerdureError
from perdure.hosts.ssh import apart
from perdure.sync.channel import Channel, Lost
from perdure.sync.exchange import Exchange, new_mark
from perdure.sync.hints import Hints
from perdure.sync.once import Destination
from perdure.sync.spare import Spare
from perdure.sync.trees import Trees

# A file that was not there may be gone again at once: an editor's own.
_GRACE_S = 0.02
# Deletions wait until there are no more of them, but not for ever.
_DELETION_S, _DELETION_MOST_S = 0.1, 1.0
# Looking at all of the tree may take this share of a core.
_SHARE, _LOOK_S = 0.004, 2.0
_PING_S, _SILENT_S = 5.0, 15.0
# After a connection was lost: how long until the next try, and how long each may take. Where there
# is one way only they are short: what waits for a network asks it ever less often, and what begins
# anew asks at once.
_DELAYS_S = (0.2, 0.5, 0.5, 0.5, 0.5, 0.5, 1.0, 2.0)
_SHORT_S, _FEW = 3.0, 6
# Where that does not do; and a host that took long to answer may do so again.
_LIMITS_S = (10.0, 10.0, 30.0)
_SLOWER = 4.0
_FLUSH_S = 1.0
# What nobody told of while the watch began is looked for once all else is done, or by then.
_FIRST_LOOK_S = 10.0
# What failed is tried again this often, and whenever somebody waits.
_AGAIN_S = 30.0
_MANY = 200


@dataclass(slots=True)
class Waiting:
    """Someone who waits until both sides are alike; `answer` is called once."""

    answer: Callable[[bool], None]
    asked_at: float
    until: float
    number: int | None = None


class Live:
    """One tree, one destination. `step` is called again and again, by one thread."""

    def __init__(self, trees: Trees, destination: Destination, hints: Hints) -> None:
        self.exchange = Exchange(trees)
        self.connected_at: float | None = None
        self.lost_at: float | None = None
        self.problem: str | None = None
        self._trees = trees
        self._destination = destination
        self._hints = hints
        self._channel: Channel | None = None
        self._spare = Spare(apart(destination.argv))
        self._tries = 0
        self._connect_at = 0.0
        self._begun_at: float | None = None
        self._took_s: float | None = None
        self._waiting: list[Waiting] = []
        self._new: set[str] = set()
        self._new_at = self._new_since = float("inf")
        self._compared_at = float("-inf")
        self._looks_once_idle = False
        self._look_at = self._ping_at = self._flush_at = self._again_at = 0.0

    def step(self, others: list[int], limit_s: float) -> list[int]:
        """Do what there is to do, wait for more at most so long; return which of `others` is ready.

        Raises:
            PerdureError: there is no use in going on.
        """
        watched: list[int] = [self._hints.fileno(), *self._spare.filenos(), *others]
        writing: list[int] = []
        if self._channel is not None:
            watched.append(self._channel.fileno())
            writing = self._channel.writing()
        left = min(limit_s, max(0.0, self._due_at() - time.monotonic()))
        ready, _, _ = select.select(watched, writing, [], left)
        asking = [fd for fd in others if fd in ready]
        if asking and self._channel is None:
            # Who asks before a comparison begins is told by it, and needs none of their own.
            return asking
        try:
            if self._hints.fileno() in ready:
                self._take_hints()
            self._serve()
            self._answer_waiting()
            self._rest()
        except (HostUnreachable, NoPython) as error:
            # Any word may find the other end gone. Who waits is answered at the next step.
            self._lose(error)
        return asking

    def wait(self, answer: Callable[[bool], None], timeout_s: float) -> None:
        """Call `answer` once both sides are alike, or with False once that took too long."""
        now = time.monotonic()
        self._waiting.append(Waiting(answer, now, now + timeout_s))
        self._connect_at = min(self._connect_at, now)

    def close(self) -> None:
        """End it, and let nobody wait."""
        for waiting in self._waiting:
            waiting.answer(False)
        self._drop()
        self._spare.drop()
        self._hints.close()
        self._trees.close()

    @property
    def is_connected(self) -> bool:
        """Return whether the other side is there and was compared."""
        return self.exchange.is_ready

    @property
    def is_short(self) -> bool:
        """Return whether changes are found by looking only, as nobody tells of them."""
        return self._hints.is_short

    def _due_at(self) -> float:
        if self.exchange.is_ready and any(each.number is None for each in self._waiting):
            return 0.0
        times = [self._new_at, self._look_at, *(each.until for each in self._waiting)]
        times.append(self._spare.due_at(self._channel))
        return min(*times, self._connect_at if self._channel is None else self._ping_at)

    def _serve(self) -> None:
        if self._channel is not None:
            self._receive(self._channel)
        if self._is_replaced():
            return
        now = time.monotonic()
        if self._channel is None:
            if now >= self._connect_at:
                self._connect()
            return
        if now >= self._new_at:
            self._take_new()
        if now >= self._look_at:
            self._look()
        if now >= self._ping_at:
            self._ping(self._channel)
        self.exchange.go_on()

    def _rest(self) -> None:
        """Do what waits until nothing else is to be done, and nobody waits."""
        if not self.exchange.is_idle:
            return
        now = time.monotonic()
        if self._looks_once_idle:
            self._looks_once_idle = False
            self._look_at = min(self._look_at, now + _GRACE_S)
        if now >= self._flush_at:
            self._trees.state.flush()
            self._flush_at = now + _FLUSH_S

    def _is_replaced(self) -> bool:
        """Return whether another way was found there, and is used from now on."""
        if (other := self._spare.look(self._channel)) is None:
            return False
        if self.exchange.is_ready:
            self._trees.tell("the connection stands still: another one is used")
        self._drop()
        self._begun_at = None
        self._begin(other)
        return True

    def _receive(self, channel: Channel) -> None:
        was_ready = self.exchange.is_ready
        frame = channel.receive(0)
        if frame is not None and self._begun_at is not None:
            self._took_s, self._begun_at = time.monotonic() - self._begun_at, None
            self._spare.note(self._took_s)
        while frame is not None:
            self.exchange.handle(*frame)
            frame = channel.receive(0)
        if self.exchange.is_answer_due:
            channel.expect()
        if self.exchange.is_ready and not was_ready:
            self._tries = 0
            self.connected_at, self.lost_at, self.problem = time.time(), None, None
            self._look_at = time.monotonic() + _FIRST_LOOK_S
            self._looks_once_idle = True
            self._trees.tell(f"connected: `{self._destination.root}` is kept as it is here")

    def _connect(self) -> None:
        limit_s = self._limit_s()
        self._tries += 1
        self._begun_at = time.monotonic()
        self._begin(Channel(self._destination.argv, connect_s=limit_s))

    def _begin(self, channel: Channel) -> None:
        self._channel = channel
        self._compared_at = time.monotonic()
        self.exchange.begin(channel, self._destination.root, new_mark())
        self._hints.watch(self._trees.local.folders)
        self._ping_at = time.monotonic() + _PING_S
        self._look_at = float("inf")

    def _limit_s(self) -> float:
        """Return how long the next try to connect may take."""
        limit_s = _LIMITS_S[self._tries % len(_LIMITS_S)]
        if self._took_s is None:
            return limit_s
        if self._tries < _FEW and not self._spare.exists:
            limit_s = _SHORT_S
        return max(limit_s, _SLOWER * self._took_s)

    def _lose(self, error: PerdureError) -> None:
        """Take note that the connection is gone, and when to try again."""
        self._drop()
        if self.lost_at is None:
            self.lost_at = time.time()
            self._trees.tell(f"{error.message}; trying again")
        self.problem = error.message
        delay = _DELAYS_S[min(self._tries, len(_DELAYS_S) - 1)]
        self._connect_at = time.monotonic() + delay

    def _drop(self) -> None:
        for waiting in self._waiting:
            waiting.number = None
        self.connected_at = None
        self.exchange.end()
        if self._channel is not None:
            self._channel.kill()
            self._channel.close()
            self._channel = None

    def _ping(self, channel: Channel) -> None:
        now = time.monotonic()
        if self.exchange.is_ready and now - channel.heard_at > _SILENT_S:
            raise Lost(f"nothing was heard for {_SILENT_S:g} s")
        channel.send({"op": "ping", "n": 0})
        self._ping_at = now + _PING_S

    def _take_hints(self) -> None:
        """Look at once at files that are known, a moment later at what is new or gone."""
        found = self._hints.read()
        scanner, local = self._trees.scanner, self._trees.local
        now = time.monotonic()
        if found is None or len(found) > _MANY or any(map(scanner.decides, found)):
            # So much is quicker seen by looking at everything.
            self._look_at = min(self._look_at, now + _GRACE_S)
            return
        known = {p for p in found if p in local.files and os.path.lexists(self._trees.root / p)}
        self.exchange.hint(known)
        new = found - known
        if new:
            self._postpone(new, any(path in local.files or path in local.folders for path in new))

    def _postpone(self, paths: set[str], gone: bool) -> None:
        now = time.monotonic()
        if not self._new:
            self._new_since = now
            self._new_at = now + _GRACE_S
        if gone:
            self._new_at = min(now + _DELETION_S, self._new_since + _DELETION_MOST_S)
        self._new |= paths

    def _take_new(self) -> None:
        paths, self._new = self._new, set()
        self._new_at = float("inf")
        while paths:
            self.exchange.hint(sorted(paths))
            paths = set(self._hints.watch(self._trees.local.folders))

    def _look(self) -> None:
        began, now = time.process_time(), time.monotonic()
        again = now >= self._again_at
        if again:
            self._again_at = now + _AGAIN_S
        self.exchange.rescan(again=again)
        self._hints.watch(self._trees.local.folders)
        cost = time.process_time() - began
        self._look_at = time.monotonic() + max(_LOOK_S, cost / _SHARE)

    def _answer_waiting(self) -> None:
        now = time.monotonic()
        for waiting in list(self._waiting):
            if self.exchange.is_ready and waiting.number is None:
                waiting.number = self._number_for(waiting)
            done = (
                waiting.number is not None
                and self.exchange.has_looked(waiting.number)
                and self.exchange.is_idle
            )
            if done or now >= waiting.until:
                self._waiting.remove(waiting)
                alike = not self._trees.problems and self.exchange.refused is None
                waiting.answer(done and alike)

    def _number_for(self, waiting: Waiting) -> int:
        """Return the look at the other side that tells what somebody waits for."""
        if waiting.asked_at <= self._compared_at:
            # All of both sides was looked at since, to begin with.
            return self.exchange.first_look
        self.exchange.rescan()
        number = self.exchange.look_there()
        self.exchange.go_on()
        return number
