"""Who may write to a job's folder in a bucket: one machine, until it lets go or falls silent.

Leader election over one object, as Kubernetes has it over one record, with the ETag in place of a
resource version (RFC 9110, 13.1.1). Ages are differences of the bucket's own times: no machine's
clock counts.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from perdure.clouds.side import keys
from perdure.clouds.side.bucket import Bucket, Taken, Version

# A holder that has not swapped the lease for so long has lost it.
TTL_S = 20.0
# It is swapped four times in that time.
BEATS = 4
# A holder that could not swap it for that share of it stops by itself, before another may begin.
_SURE = 0.6
_LOOK_S = 1.0


class Fenced(Exception):
    """Another machine has the job, or may have it: nothing more is to be written."""


class Held(NamedTuple):
    """What a lease says: `released` by its holder, `since` how often it was taken (the turn).

    `newest` is the checkpoint that the turn began from, `idle` how many turns in a row of its
    `submission` began from that one. After `ttl_s` of silence another one may take it.
    """

    holder: str
    turn: int
    beat: int
    released: bool
    newest: str = ""
    idle: int = 0
    ttl_s: float = TTL_S
    submission: int = 0


_NOBODY = Held("", 0, 0, released=True)


@dataclass(slots=True)
class Lease:
    """A job's lease, as one machine has it."""

    bucket: Bucket
    job: str
    holder: str
    ttl_s: float = TTL_S
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    held: Held = field(default=_NOBODY)
    #: Who had it before.
    previous: str = ""
    _version: Version | None = None
    _sure_until: float = 0.0
    # The beat comes from one thread, the word before a manifest from another.
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def take(self, newest: str, submission: int = 0) -> Held:
        """Return the lease once it is this machine's: at once, or when another one's has ended.

        `newest` is the newest checkpoint there is, "" for none; of another `submission` (its turn)
        no turn counts as one without progress. Touches the network.
        """
        mine = Held(self.holder, 0, 0, False, newest, 0, self.ttl_s, submission)
        while True:
            found = self.bucket.get(self._key)
            if found is None:
                before, version, free = _NOBODY, None, True
            else:
                before, version = read(found.data), found.version
                age = (self.bucket.now(self._scratch) - found.written).total_seconds()
                free = before.released or before.holder == self.holder or age > before.ttl_s
            if free:
                mine = mine._replace(turn=before.turn + 1, idle=_idle(before, mine))
                try:
                    self._swap(mine, version)
                    self.previous = before.holder
                    return mine
                except Taken:
                    pass  # somebody was quicker
            self.pause(_LOOK_S)

    def is_sure(self) -> bool:
        """Return whether no other machine can have the lease yet, by this machine's clock alone."""
        return self.clock() <= self._sure_until

    def beat(self) -> None:
        """Say that this machine goes on.

        Raises:
            Fenced: another one has the lease, or it may have: the bucket has not answered for long.
        """
        with self._lock:
            self._beat()

    def _beat(self) -> None:
        try:
            self._swap(self.held._replace(beat=self.held.beat + 1), self._version)
        except Taken as error:
            raise Fenced(f"another machine has `{self.job}`") from error
        except Exception as error:
            # Whatever is wrong with the bucket: it may be right again before it is too late.
            if not self.is_sure():
                raise Fenced(f"the bucket does not answer: {type(error).__name__}") from error

    def release(self) -> None:
        """Let go, so that the next machine need not wait. Raises `Fenced` as `beat`."""
        with self._lock:
            last = self.held._replace(beat=self.held.beat + 1, released=True)
            try:
                self._swap(last, self._version)
            except Taken as error:
                raise Fenced(f"another machine has `{self.job}`") from error

    def _swap(self, wanted: Held, before: Version | None) -> None:
        # From before it is sent: the bucket's own time for it is no earlier.
        sure_until = self.clock() + self.ttl_s * _SURE
        data = json.dumps(wanted._asdict()).encode()
        self._version = self.bucket.swap(self._key, data, before)
        self.held, self._sure_until = wanted, sure_until

    @property
    def _key(self) -> str:
        return keys.job(self.job, keys.LEASE)

    @property
    def _scratch(self) -> str:
        return keys.job(self.job, keys.SCRATCH)


def _idle(before: Held, mine: Held) -> int:
    """Return how many turns in a row before this one began from what it begins from. Pure."""
    same = (before.newest, before.submission) == (mine.newest, mine.submission)
    return before.idle + 1 if before.turn and same else 0


def read(data: bytes) -> Held:
    """Return what a lease says; what cannot be read is nobody's. Pure."""
    try:
        found: dict[str, Any] = json.loads(data)
        return Held(**{name: found[name] for name in Held._fields if name in found})
    except (ValueError, KeyError, TypeError):
        return _NOBODY
