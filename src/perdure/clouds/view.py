"""How jobs stand by their bucket, and what their run folders have beyond what is known here.

The answers are those of `perdure.jobs.looking.look`, which a host gives of its own jobs.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from perdure.clouds.clock import Clock
from perdure.clouds.opening import open_folder
from perdure.clouds.side import keys, lease, log, standing
from perdure.clouds.side.bucket import Bucket
from perdure.clouds.side.order import BEYOND_S, read_order
from perdure.errors import StorageError
from perdure.model.station import Station
from perdure.moving.address import Address, parse_address
from perdure.moving.bucket import asking

WAITS = "waits for a machine"
_MOST_BYTES = 8 << 20
_CURSORS = "cursors"


def engine_of(kind: str, where: str) -> str:
    """Return the engine of a station in a cloud; `where` is as settings have it. Pure."""
    return f"{kind}:{where}"


class BucketLine:
    """A bucket in the place of a host: it answers one question, how jobs stand."""

    _clocks: ClassVar[dict[str, Clock]] = {}

    def __init__(self, project: Path, station: Station) -> None:
        self._project = project
        self._station = station

    def connect(self) -> None:
        """Return at once: there is no connection to be had."""

    def question(self, function: Callable[..., Any], *given: object) -> None:
        """Return that no question was sent: what asks a bucket waits for it in a thread."""

    def call(self, function: Callable[..., Any], *given: Any) -> dict[str, Any]:  # noqa: ANN401, ARG002
        """Return how jobs stand. Touches the network.

        Raises:
            HostUnreachable: the bucket does not answer.
            StorageError: it refuses, or holds what is no log.
        """
        _, known, _ = given
        address = parse_address(self._station.destination)
        bucket = open_folder(address, self._station.engine.partition(":")[2])
        jobs = {name: self._job(bucket, address, PurePosixPath(name).name) for name in known}
        if self._station.engine.startswith("sky:"):
            self._look_aside(bucket, [name for name, each in jobs.items() if each["waits"]])
        return {"time": time.time(), "boot": "", "jobs": jobs}

    def _job(self, bucket: Bucket, address: Address, job: str) -> dict[str, Any]:
        with asking(address, "read"):
            # Asked before the log: what was written before is then seen.
            wanted = standing.wanted(bucket, job)
            clock = self._clocks.setdefault(str(address), Clock(bucket))
            waits = WAITS if wanted.wanted and not is_held(bucket, job, clock) else None
            if waits and settle_late(bucket, job, wanted, clock):
                wanted, waits = standing.wanted(bucket, job), None
            files, more = self._new(bucket, job)
        given_up = not wanted.wanted and wanted.why.startswith(standing.IN_VAIN)
        problem = {"waits": waits, "ended": wanted.why if given_up else "", "problem": ""}
        return {"alive": wanted.wanted, "there": True, "files": files, "more": more, **problem}

    def _look_aside(self, bucket: Bucket, waiting: Iterable[str]) -> None:
        """Have it looked whether SkyPilot has given up what waits for a machine for long."""
        from perdure.clouds import sky_standing

        if any(sky_standing.waits_long(bucket, PurePosixPath(each).name) for each in waiting):
            sky_standing.look_aside(self._project, self._station, time.time())

    def _new(self, bucket: Bucket, job: str) -> tuple[dict[str, list[Any]], bool]:
        """Return what is new of a job's files, each from an offset on, and whether there is more.

        What was handed over at the last call is known to be kept by now.
        """
        cursor = _Cursor.of(self._project, self._station, job)
        cursor.keep()
        found: dict[str, list[Any]] = {}
        size, more = 0, False
        try:
            for number, grown in log.pieces(bucket, job, cursor.at):
                if size > _MOST_BYTES or any(not _follows(found, each) for each in grown):
                    more = True
                    break
                for each in grown:
                    at, data = found.get(each.name, [each.at, b""])
                    found[each.name] = [at, data + each.data]
                    size += len(each.data)
                cursor.at = number
        except ValueError as error:
            raise StorageError(f"the log of `{job}` in the bucket cannot be read") from error
        return found, more


class _Cursor:
    """Up to which piece a job's log is here: on the disk what is sure to have been written."""

    known: ClassVar[dict[Path, _Cursor]] = {}

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            self.at = int(json.loads(file.read_bytes()))
        except (OSError, ValueError, TypeError):
            self.at = 0
        self._kept = self.at

    @classmethod
    def of(cls, project: Path, station: Station, job: str) -> _Cursor:
        """Return the cursor of a job, as this process has it."""
        name = Path(station.root).name
        file = project / ".perdure" / "targets" / _CURSORS / name / f"{job}.json"
        mirror = project / "results" / job / keys.LOG
        if file not in cls.known:
            cls.known[file] = cls(file)
        found = cls.known[file]
        if found.at and not (mirror.parent / "attempts").is_dir():
            found.at = 0  # the mirror was cleaned away, and is made anew
        return found

    def keep(self) -> None:
        """Write down how far it is; what cannot be written is fetched again."""
        if self.at == self._kept:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            draft = self._file.with_name(f".{self._file.name}-{os.getpid()}")
            draft.write_text(json.dumps(self.at))
            draft.replace(self._file)
        except OSError:
            return
        self._kept = self.at


def _follows(found: Mapping[str, list[Any]], each: log.Grown) -> bool:
    if each.name not in found:
        return True
    at, data = found[each.name]
    return bool(each.at == at + len(data))


def is_held(bucket: Bucket, job: str, clock: Clock) -> bool:
    """Return whether a machine has a job, by the bucket's clock."""
    found = bucket.get(keys.job(job, keys.LEASE))
    if found is None:
        return False
    held = lease.read(found.data)
    if held.released:
        return False
    return (clock.now() - found.written).total_seconds() < 3 * held.ttl_s


def settle_late(bucket: Bucket, job: str, wanted: standing.Wanted, clock: Clock) -> bool:
    """Return whether a job that no machine comes for any more was settled, in its turn.

    Its group has none, by the provider or by its last one. Not known, and False, of one that
    another perdure submitted in words of its own.
    """
    try:
        order = read_order(bucket, job)
    except (KeyError, TypeError, ValueError):
        return False
    if order is None or order.deadline is None:
        return False
    if clock.now().timestamp() <= order.deadline + BEYOND_S or is_held(bucket, job, clock):
        return False
    standing.settle(bucket, job, wanted.turn, standing.LATE)
    return True
