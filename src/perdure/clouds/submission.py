"""A job brought into a bucket: code by what is missing, its record, and what is to be done."""

from __future__ import annotations

from collections.abc import Mapping

from perdure.clouds import kit
from perdure.clouds.side import keys, standing
from perdure.clouds.side.bucket import Bucket
from perdure.clouds.side.standing import Wanted
from perdure.model.report import Report, silent


def bring_folder(bucket: Bucket, job: str, files: Mapping[str, bytes]) -> None:
    """Bring a run folder as it was submitted."""
    for name, data in files.items():
        bucket.put(keys.job(job, f"{keys.FOLDER}/{name}"), data)


def begin(bucket: Bucket, job: str, order: bytes) -> None:
    """Say what a machine is to do; called before the job wants one."""
    bucket.put(keys.job(job, keys.START), order)


def bring_kit(bucket: Bucket, report: Report = silent) -> str:
    """Return the name of perdure's own modules in the bucket, sent if they are missing."""
    report("looking for perdure's own modules in the bucket")
    return kit.bring(bucket)


def next_turn(bucket: Bucket, job: str) -> Wanted:
    """Return the turn that a submission would begin, or the one that has begun."""
    found = standing.wanted(bucket, job)
    return found if found.wanted else Wanted(found.turn + 1, wanted=False)
