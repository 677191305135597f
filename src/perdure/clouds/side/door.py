"""The door of a machine: who may write a job's folder in the bucket may ask to be let in.

Nothing listens on a machine before. A visitor puts a public key into the bucket that is good for
that visit; the machine answers there with its address, and with the host key that the visitor's ssh
insists on. Whoever can write there could have the machine run anything anyway.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from perdure.clouds.side import keys
from perdure.clouds.side.bucket import Bucket, Taken, Version

KEY = re.compile(r"ssh-ed25519 [A-Za-z0-9+/]{60,80}={0,2}")
# Not the usual one, where the image's own server may listen, which is nobody's here.
PORT = 2222
# After so long a visit is over that nobody has ended: its visitor's machine is gone.
LONGEST_S = 86400.0


class Visit(NamedTuple):
    """Who wants in: `key` is a public key's line, `at` when that was asked (unix seconds)."""

    name: str
    key: str
    at: float


class Door(NamedTuple):
    """Where visitors are let in: `visits` are the names of those who are, by now.

    `user` is who they are on the machine, `host_key` the line of its public key. `problem` is why
    nobody can be let in, "" where they can.
    """

    address: str
    port: int
    user: str
    host_key: str
    visits: tuple[str, ...]
    problem: str = ""


def visits(bucket: Bucket, job: str) -> list[Visit]:
    """Return who wants in."""
    return _visits(bucket, job)[0]


def ask(bucket: Bucket, job: str, visit: Visit) -> None:
    """Ask to be let in. Visits that nobody has ended for long are forgotten."""
    _change(bucket, job, lambda each: visit.at - each.at < LONGEST_S, [visit])


def leave(bucket: Bucket, job: str, name: str) -> None:
    """End a visit."""
    _change(bucket, job, lambda each: each.name != name, [])


def answer(bucket: Bucket, job: str, door: Door) -> None:
    """Say where visitors are let in."""
    bucket.put(keys.job(job, keys.DOOR), json.dumps(door._asdict()).encode())


def answered(bucket: Bucket, job: str) -> Door | None:
    """Return what a machine has answered last, None where none has."""
    found = bucket.get(keys.job(job, keys.DOOR))
    if found is None:
        return None
    try:
        values: dict[str, Any] = json.loads(found.data)
        door = Door(**{**values, "visits": tuple(values["visits"])})
        return door if _is_door(door) else None
    except (ValueError, KeyError, TypeError):
        return None


def _change(
    bucket: Bucket, job: str, stays: Callable[[Visit], bool], more: Sequence[Visit]
) -> None:
    while True:
        before, version = _visits(bucket, job)
        after = [*filter(stays, before), *more]
        if after == before:
            return
        data = json.dumps([each._asdict() for each in after]).encode()
        try:
            bucket.swap(keys.job(job, keys.VISITS), data, version)
        except Taken:
            continue
        return


def _visits(bucket: Bucket, job: str) -> tuple[list[Visit], Version | None]:
    found = bucket.get(keys.job(job, keys.VISITS))
    if found is None:
        return [], None
    try:
        told = [Visit(**each) for each in json.loads(found.data)]
    except (ValueError, TypeError):
        return [], found.version
    return [each for each in told if _is_visit(each)], found.version


def _is_visit(told: Any) -> bool:  # noqa: ANN401 - that is what is asked
    """Return whether what was read is one: a single line that is none would keep others out."""
    if not (isinstance(told.at, (int, float)) and isinstance(told.name, str)):
        return False
    return KEY.fullmatch(str(told.key)) is not None


def _is_door(told: Any) -> bool:  # noqa: ANN401 - that is what is asked
    """Return whether what was read is one: ssh reads its words, and a key is one line."""
    texts = (told.address, told.user, told.host_key, told.problem)
    if not (isinstance(told.port, int) and all(isinstance(each, str) for each in texts)):
        return False
    return bool(told.problem) or KEY.fullmatch(told.host_key) is not None
