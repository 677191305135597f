"""Jobs that SkyPilot has given up, settled in their bucket: no machine comes to say so.

Looked for aside and seldom: to ask SkyPilot takes seconds, and no list of jobs waits for that.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from perdure.clouds import sky_task
from perdure.clouds.opening import open_folder
from perdure.clouds.side import standing
from perdure.clouds.side.bucket import Bucket
from perdure.clouds.sky_command import SkyCommand
from perdure.errors import PerdureError
from perdure.hosts import local
from perdure.model.station import Station
from perdure.moving.address import parse_address
from perdure.moving.bucket import asking

# So long a job waits for a machine before SkyPilot is asked, and between two askings.
EVERY_S = 300.0
_LOG = "sky.log"


class GivenUp(NamedTuple):
    """A job's turn that wants a machine, and gets none; `why` in SkyPilot's words."""

    job: str
    turn: int
    why: str


def given_up(sky: SkyCommand, bucket: Bucket, folder: str) -> Iterator[GivenUp]:
    """Yield the jobs of a project's folder that SkyPilot has given up. Asks it, and the bucket."""
    for each in sky.queue(finished=True):
        job = sky_task.job_of(folder, each.name)
        if job is None or not each.is_over:
            continue
        found = standing.wanted(bucket, job)
        if found.wanted and each.name == sky_task.name_of(folder, job, found.turn):
            yield GivenUp(job, found.turn, f"{standing.SKY}: {each.status} {each.why}".strip())


def settle_given_up(folder: str, where: str, sky: SkyCommand) -> None:
    """Have the jobs that SkyPilot has given up want no machine any more.

    Raises:
        PerdureError: SkyPilot or the bucket does not answer.
    """
    address = parse_address(folder)
    bucket = open_folder(address, where)
    with asking(address, "write"):
        for each in given_up(sky, bucket, folder):
            standing.settle(bucket, each.job, each.turn, each.why)


def look_aside(project: Path, station: Station, now: float) -> bool:
    """Return whether a process was started that settles what was given up: not all the time."""
    log = project / ".perdure/targets" / f"{Path(station.root).name}-{_LOG}"
    try:
        if now - log.stat().st_mtime < EVERY_S:
            return False
    except OSError:
        log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    where = station.engine.partition(":")[2]
    local.spawn_detached((sys.executable, "-m", __name__, station.destination, where), log=log)
    return True


def waits_long(bucket: Bucket, job: str) -> bool:
    """Return whether a job has wanted a machine for a while, by this machine's clock."""
    since = standing.since(bucket, job)
    return since is not None and time.time() - since > EVERY_S


def main(words: list[str]) -> int:
    """Return 0 once it was seen to: the program that `look_aside` starts."""
    try:
        settle_given_up(words[0], words[1], SkyCommand())
    except PerdureError as error:
        raise SystemExit(error.message) from error
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
