"""Whether a job wants a machine, and what a person has asked of it: two small objects."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from perdure.clouds.side import keys
from perdure.clouds.side.bucket import Bucket, Taken, Version

INTERRUPT = "interrupt"
CANCEL = "cancel"
# Who or what begins why a job wants no machine, where none was ever to come.
SKY = "SkyPilot"
LATE = "its time (max_hours) was over"
IN_VAIN = (SKY, LATE)


class Wanted(NamedTuple):
    """Whether another machine is to go on; `why` not: how it was settled. `turn`: submissions."""

    turn: int
    wanted: bool
    why: str = ""


class Asked(NamedTuple):
    """What a person asks: `number` grows; `verb` is `interrupt` or `cancel`."""

    number: int
    verb: str
    reason: str = ""
    deadline: float | None = None


def wanted(bucket: Bucket, job: str) -> Wanted:
    """Return whether a job wants a machine; one that was never submitted does not."""
    return _wanted(bucket, job)[0]


def since(bucket: Bucket, job: str) -> float | None:
    """Return since when a job stands as it does, by the bucket's clock; None: never submitted."""
    found = bucket.get(keys.job(job, keys.STANDING))
    return None if found is None else found.written.timestamp()


def want(bucket: Bucket, job: str) -> Wanted:
    """Have a job want a machine; return its turn. One that does already keeps its turn."""
    while True:
        before, version = _wanted(bucket, job)
        if before.wanted:
            return before
        after = Wanted(before.turn + 1, True)
        try:
            bucket.swap(keys.job(job, keys.STANDING), _encode(after), version)
        except Taken:
            continue
        return after


def settle(bucket: Bucket, job: str, turn: int, why: str) -> None:
    """Have a job want no machine any more; nothing where another turn has begun since."""
    while True:
        before, version = _wanted(bucket, job)
        if before.turn != turn or not before.wanted:
            return
        try:
            bucket.swap(keys.job(job, keys.STANDING), _encode(Wanted(turn, False, why)), version)
        except Taken:
            continue
        return


def ask(
    bucket: Bucket, job: str, verb: str, reason: str = "", deadline: float | None = None
) -> None:
    """Ask something of the machine that runs a job."""
    before = asked(bucket, job)
    content = Asked(before.number + 1, verb, reason, deadline)
    bucket.put(keys.job(job, keys.CONTROL), _encode(content))


def asked(bucket: Bucket, job: str) -> Asked:
    """Return what was asked last, number 0 for nothing."""
    found = bucket.get(keys.job(job, keys.CONTROL))
    nothing = Asked(0, "")
    return nothing if found is None else Asked(**_decode(found.data, nothing._asdict()))


def _wanted(bucket: Bucket, job: str) -> tuple[Wanted, Version | None]:
    found = bucket.get(keys.job(job, keys.STANDING))
    nothing = Wanted(0, wanted=False)
    if found is None:
        return nothing, None
    return Wanted(**_decode(found.data, nothing._asdict())), found.version


def _encode(value: Wanted | Asked) -> bytes:
    return json.dumps(value._asdict()).encode()


def _decode(data: bytes, usual: dict[str, Any]) -> dict[str, Any]:
    try:
        found = json.loads(data)
        return {name: found.get(name, each) for name, each in usual.items()}
    except (ValueError, AttributeError):
        return usual
